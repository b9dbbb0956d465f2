//! Standard error that may be closed, full or unread.
//!
//! The standard library's macros panic if a line cannot be written, and wait forever if the
//! reader of a pipe hangs. The lint `print_stderr` forbids them in both programs.

use std::fmt::Display;
use std::io::{self, Write};

use license_core::foreign_text::escaped;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A writable pipe accepts this many bytes without blocking (`pipe(7)`).
const PIECE_BYTES: usize = 4096;
/// Timeout for the reader of a pipe.
const LINE_TIMEOUT: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Writes a line for people. A line that cannot be written is lost, and a line that is not read
/// is dropped after a second. Names and arguments in it may come from others: it stays one line, and
/// no character of it controls the terminal.
pub fn say(line: impl Display) {
    let text = format!("{}\n", escaped(&line.to_string()));
    for piece in text.as_bytes().chunks(PIECE_BYTES) {
        if !matches!(wait(Some(&LINE_TIMEOUT)), Ok(true)) {
            return;
        }
        if StandardError.write_all(piece).is_err() {
            return;
        }
    }
}

/// Standard error without a buffer and without the lock of the standard library: a thread that
/// blocks in a write does not block others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(io::stderr(), bytes) {
                // A program that shares standard error may have set it to non-blocking mode.
                Err(Errno::AGAIN) => wait(None)?,
                written => return Ok(written?),
            };
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until standard error is writable; returns whether it is.
fn wait(timeout: Option<&Timespec>) -> io::Result<bool> {
    let stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    loop {
        match poll(&mut polled, timeout) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}
