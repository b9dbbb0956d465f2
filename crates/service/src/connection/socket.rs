//! The TCP stream of a connection, which counts received and sent bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, Take};
use tokio::net::TcpStream;

use super::MAX_HEADERS;
use super::activity::Activity;
use super::opening::Opening;
use crate::response_headers;

/// Maximum number of bytes read at a time. hyper enlarges its buffer after a read of 8 KiB, and
/// keeps it for as long as the connection is open.
pub(super) const MAX_READ_BYTES: usize = 4 * 1024;

/// A TCP stream that counts bytes.
pub(super) struct Socket {
    pub(super) stream: Take<TcpStream>,
    /// Bytes received by the connection before its buffers were released.
    pub(super) unread: Bytes,
    pub(super) opening: Opening,
    pub(super) activity: Arc<Activity>,
}

impl Socket {
    /// Sends part of a response.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(self.stream.get_mut()).poll_write(cx, bytes);
        self.activity.note_write(&written);
        written
    }

    /// hyper itself answers a malformed request, without the headers that every response has, and
    /// without a reason. If `head` is such a response, returns it with the headers and a reason.
    fn refusal(&self, head: &[u8]) -> Option<Vec<u8>> {
        if self.activity.is_request_in_flight() || !self.activity.is_flushed() {
            return None;
        }
        let head = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
        let detail = match head.split(' ').nth(1)? {
            "414" => "The address of the request is too long.".to_owned(),
            "431" => format!(
                "The headers of the request are too long. The limits are {} bytes and {MAX_HEADERS} headers.",
                self.activity.max_head_bytes
            ),
            _ => "The request is not valid HTTP/1.1.".to_owned(),
        };
        let body = format!("{{\"detail\":\"{detail}\"}}");
        let mut answer = String::new();
        let lines = head.split("\r\n");
        for line in lines.filter(|line| !line.starts_with("content-length:")) {
            answer.extend([line, "\r\n"]);
        }
        answer.push_str(&response_headers::lines());
        let length = body.len();
        answer.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        Some(answer.into_bytes())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let fits = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(fits));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let this = &mut *self;
        this.stream.set_limit(MAX_READ_BYTES as u64);
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let received = &buf.filled()[before..];
        if received.is_empty() && this.activity.half_close() {
            // hyper would discard the response. It reads again, and finds the end, once that is sent.
            return Poll::Pending;
        }
        this.opening.receive(received, this.activity.peer);
        Poll::Ready(match self.activity.receive(received.len()) {
            true => Ok(()),
            false => Err(io::ErrorKind::OutOfMemory.into()),
        })
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(refusal) = self.refusal(buf) {
            // The connection ends after this response, and its buffer has room.
            let written = ready!(Pin::new(self.stream.get_mut()).poll_write(cx, &refusal))?;
            return Poll::Ready(Ok(written.min(buf.len())));
        }
        self.poll_send(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        if let Some(first) = first
            && self.refusal(first).is_some()
        {
            return self.poll_write(cx, first);
        }
        let written = Pin::new(self.stream.get_mut()).poll_write_vectored(cx, bufs);
        self.activity.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answers = self.activity.answers.load(Ordering::Relaxed);
        self.activity.flushed.store(answers, Ordering::Relaxed);
        Pin::new(self.stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}
