//! The log of a gate. Tests run at the same time, so each looks for its own lines.

use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

static LINES: Mutex<String> = Mutex::new(String::new());

static START: LazyLock<()> = LazyLock::new(|| {
    let lines = tracing_subscriber::fmt().with_ansi(false);
    lines
        .with_max_level(tracing::Level::INFO)
        .with_writer(|| Kept)
        .init();
});

struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts recording the log.
pub fn keep() {
    LazyLock::force(&START);
}

/// The lines that contain this text.
pub fn lines(text: &str) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = lines.lines().filter(|line| line.contains(text));
    lines.map(str::to_owned).collect()
}

/// Waits for a line with both texts, and returns all lines with the first.
pub fn until(text: &str, other: &str) -> Vec<String> {
    for _ in 0..500 {
        let found = lines(text);
        if found.iter().any(|line| line.contains(other)) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no line with {text:?} and {other:?} in {:#?}", lines(text));
}
