//! Closes a connection whose peer may still be sending.
//!
//! The system resets a socket that is closed with unread bytes, and a reset can destroy a response
//! that the peer has not read. The sending half is therefore closed first, and received data is
//! discarded for a short time (RFC 9112, section 9.6).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

/// Timeout for the peer to close its end.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of bytes that are discarded.
const MAX_BYTES: usize = 64 * 1024;

/// Closes `stream` after its last response: when the peer has closed its end, after one second, or
/// after 64 KiB.
pub(crate) async fn close(mut stream: TcpStream) {
    let discarded = tokio::time::timeout(TIMEOUT, discard(&mut stream)).await;
    if let Ok(Err(error)) = discarded {
        tracing::debug!(%error, "a connection ended before its peer closed it");
    }
}

async fn discard(stream: &mut TcpStream) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await?;
    let mut discarded = 0;
    while discarded < MAX_BYTES {
        stream.readable().await?;
        match stream.try_read(&mut [0; 1024]) {
            Ok(0) => break,
            Ok(bytes) => discarded += bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
