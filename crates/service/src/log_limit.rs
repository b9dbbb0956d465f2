//! Limits the log: repeated lines are written a few times and then counted.
//!
//! The limit applies to each log statement of a program, including those of libraries and of later
//! versions; the number of statements is fixed: a caller cannot choose what is counted, and no
//! statement can be forgotten.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::clock::Clock;

/// This many lines of one log statement are written …
pub const MAX_LINES: u32 = 5;
/// … within this interval; further lines are counted, and their number is written at its end.
pub const INTERVAL: Duration = Duration::from_secs(60);
/// The target of the lines that report how many lines were left out.
pub const TARGET: &str = "log_limit";
/// Maximum length of a line, in bytes. It may contain text from another machine.
pub const MAX_LINE_BYTES: usize = 8 * 1024;
/// Maximum length of a message quoted in such a line, in bytes.
const MAX_MESSAGE_BYTES: usize = 200;

/// The layer that limits the log. `debug` and `trace` lines, which an operator has requested, are
/// not limited.
#[derive(Clone)]
pub struct LogLimit {
    clock: Arc<dyn Clock>,
    statements: Arc<Mutex<HashMap<Identifier, Statement>>>,
}

/// One log statement of the program.
struct Statement {
    level: Level,
    /// When the current interval began, in running time.
    since: Duration,
    written: u32,
    left_out: u64,
    /// What was written last.
    message: String,
}

impl LogLimit {
    /// Limits the log by this clock's running time.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            statements: Arc::default(),
        }
    }

    /// Writes how many lines were left out since the last call: one line for each log statement, if
    /// there were any.
    pub fn report(&self) {
        for (level, count, message) in self.take_counts() {
            let seconds = INTERVAL.as_secs();
            // The level of a line is a constant.
            macro_rules! write {
                ($level:ident) => {
                    tracing::$level!(
                        target: TARGET,
                        count,
                        event = message,
                        "left out repeated log lines; the limit is {MAX_LINES} lines in {seconds} s"
                    )
                };
            }
            match level {
                Level::ERROR => write!(error),
                Level::WARN => write!(warn),
                _ => write!(info),
            }
        }
    }

    fn take_counts(&self) -> Vec<(Level, u64, String)> {
        let mut statements = self.lock();
        let repeated = statements.values_mut().filter(|it| it.left_out > 0);
        repeated
            .map(|it| {
                (
                    it.level,
                    std::mem::take(&mut it.left_out),
                    it.message.clone(),
                )
            })
            .collect()
    }

    /// Whether this line is written; otherwise it is counted.
    fn is_written(&self, metadata: &Metadata<'_>, message: String) -> bool {
        let now = self.clock.running();
        let mut statements = self.lock();
        let statement = statements
            .entry(metadata.callsite())
            .or_insert_with(|| Statement {
                level: *metadata.level(),
                since: now,
                written: 0,
                left_out: 0,
                message: String::new(),
            });
        // A test's clock may restart.
        if now < statement.since || now - statement.since >= INTERVAL {
            statement.since = now;
            statement.written = 0;
        }
        if statement.written < MAX_LINES {
            statement.written += 1;
            statement.message = message;
            return true;
        }
        statement.left_out += 1;
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, Statement>> {
        self.statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for LogLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == TARGET {
            return true;
        }
        // Before the lock is taken: this runs code of the caller, which may be slow
        // or log a line itself.
        let mut message = Message::default();
        event.record(&mut message);
        self.is_written(metadata, message.0)
    }
}

/// The message of a line, without its fields, up to [`MAX_MESSAGE_BYTES`].
#[derive(Default)]
struct Message(String);

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = MAX_MESSAGE_BYTES - self.0.len();
        let end = text.floor_char_boundary(free);
        self.0.push_str(&text[..end]);
        // The error stops the formatting of a longer message.
        if end < text.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // An error means that the message is longer than the maximum.
            let _ = write!(self, "{value:?}");
        }
    }
}

/// Keeps each line, which is written by one call, a single line of limited length. A line break
/// inside a line of text is escaped, so that no message can forge a line. A truncated JSON line
/// would be invalid, so only its length is written. Each call writes a whole line to `inner`.
pub struct ShortLines<W> {
    /// Where lines are written.
    pub inner: W,
    /// Whether they are JSON.
    pub are_json: bool,
}

impl<W: io::Write> io::Write for ShortLines<W> {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        let escaped = (!self.are_json).then(|| single_line(written)).flatten();
        let line = escaped.as_deref().unwrap_or(written);
        if line.len() <= MAX_LINE_BYTES {
            self.inner.write_all(line)?;
        } else if self.are_json {
            let bytes = line.len();
            let line = format!(
                "{{\"level\":\"WARN\",\"message\":\"left out a log line that is too long\",\"bytes\":{bytes},\"target\":\"{TARGET}\"}}\n"
            );
            self.inner.write_all(line.as_bytes())?;
        } else {
            let is_inside = |at: &usize| line[*at] & 0xC0 == 0x80;
            let end = (0..MAX_LINE_BYTES - 8).rev().find(|at| !is_inside(at));
            let cut = [&line[..end.unwrap_or_default()], " …\n".as_bytes()].concat();
            self.inner.write_all(&cut)?;
        }
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The line with inner line breaks escaped; `None` if it has none.
fn single_line(line: &[u8]) -> Option<Vec<u8>> {
    let inside = line.strip_suffix(b"\n").unwrap_or(line);
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0xb | 0xc);
    if !inside.iter().any(is_break) {
        return None;
    }
    let mut single = Vec::with_capacity(line.len() + 16);
    for byte in inside {
        match byte {
            it if is_break(it) => single.extend(byte.escape_ascii()),
            it => single.push(*it),
        }
    }
    single.extend(&line[inside.len()..]);
    Some(single)
}

#[cfg(test)]
mod tests;
