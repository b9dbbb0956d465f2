//! A connection between two requests, without buffers and without the HTTP library.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::activity::UNCOUNTED_ANSWER_BYTES;
use super::exchange::Requests;
use super::socket::{MAX_READ_BYTES, Socket};
use super::{response_bytes, whole_request};

/// A connection between two requests. The response to the last one may not be sent yet.
pub(super) struct Resting {
    pub(super) socket: Socket,
    pub(super) requests: Requests,
    unsent: Vec<u8>,
}

/// Why a connection does not rest any longer.
pub(super) enum Rested {
    /// The peer has closed it, or it has failed.
    Ended,
    /// These bytes are for the library.
    Received(Bytes),
}

impl Resting {
    pub(super) fn new(socket: Socket, requests: Requests) -> Self {
        Self {
            socket,
            requests,
            unsent: Vec::new(),
        }
    }

    /// Responds to requests that arrive in one piece and need no router, until something else
    /// arrives. If the connection `is_closing`, the library responds.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, is_closing: bool) -> Poll<Rested> {
        loop {
            while !self.unsent.is_empty() {
                match ready!(self.socket.poll_send(cx, &self.unsent)) {
                    Ok(0) | Err(_) => return Poll::Ready(Rested::Ended),
                    Ok(sent) if sent < self.unsent.len() => drop(self.unsent.drain(..sent)),
                    Ok(_) => {
                        self.unsent = Vec::new();
                        self.socket.activity.finish_request();
                    }
                }
            }
            let mut buffer = [const { MaybeUninit::uninit() }; MAX_READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut buffer);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer));
            let received = buffer.filled();
            if read.is_err() || received.is_empty() {
                return Poll::Ready(Rested::Ended);
            }
            let respond =
                || whole_request::read(received, |head, body| self.requests.direct(head, body));
            let response = (!is_closing).then(respond).flatten();
            // The bytes of a longer one are counted.
            match response.filter(|it| it.body.len() <= UNCOUNTED_ANSWER_BYTES) {
                Some(response) => {
                    self.socket.activity.begin_request(false);
                    self.unsent = response_bytes::bytes_of(&response);
                }
                None => return Poll::Ready(Rested::Received(Bytes::copy_from_slice(received))),
            }
        }
    }
}
