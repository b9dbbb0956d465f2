//! Writes log lines without ever making the program wait for their reader.
//!
//! A thread writes the lines, one after the other. Lines that do not fit into its queue, and lines
//! that cannot be written, are dropped and counted: the reader of a pipe may be gone or hang, and a
//! file system may be full.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Maximum number of lines that wait to be written. A line is at most
/// [`crate::log_limit::MAX_LINE_BYTES`] long.
pub const MAX_WAITING_LINES: usize = 1024;
/// Timeout for writing the remaining lines when the program ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Where log lines go. Each write is one whole line.
#[derive(Clone, Debug)]
pub struct LogWriter {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// All lines before this one have been written or dropped.
    Flush(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread that writes to `output`. If no thread can be started, all lines are
    /// dropped.
    #[must_use]
    pub fn start(output: impl Write + Send + 'static) -> Self {
        let (queue, entries) = sync_channel(MAX_WAITING_LINES);
        let dropped = Arc::<AtomicU64>::default();
        let counter = dropped.clone();
        let write = move || write_all(output, &entries, &counter);
        // Without the thread the queue has no receiver, and every line counts as dropped.
        let _ = std::thread::Builder::new().name("log".into()).spawn(write);
        Self { queue, dropped }
    }

    /// Number of lines that were dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far have been written or dropped, for at most a second.
    pub fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        let queue = self.queue.clone();
        // The queue may be full: a thread waits for a place in it.
        let ask = move || queue.send(Entry::Flush(done));
        if std::thread::Builder::new().spawn(ask).is_ok() {
            // On a timeout the lines have no reader.
            let _ = is_done.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

impl Write for LogWriter {
    /// Never fails: a line that cannot be queued is counted.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(mut output: impl Write, entries: &Receiver<Entry>, dropped: &AtomicU64) {
    let mut is_cut = false;
    while let Ok(entry) = entries.recv() {
        match entry {
            Entry::Line(line) => {
                // A part of the previous line may have been written.
                let ended = match is_cut {
                    true => output.write_all(b"\n"),
                    false => Ok(()),
                };
                is_cut = ended.and_then(|()| output.write_all(&line)).is_err();
                if is_cut {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            Entry::Flush(done) => {
                // The caller has stopped waiting.
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Writes as much as there is room for.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *self.0.lock().unwrap();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= taken;
            written.extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_full_disk_refuses_are_counted_and_later_ones_are_whole() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 7))));
        let mut writer = LogWriter::start(disk.clone());
        for line in ["one\n", "two\n", "three\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        LogWriter::flush(&writer);
        assert_eq!(writer.dropped(), 2);
        disk.0.lock().unwrap().1 = 100;
        writer.write_all(b"four\n").unwrap();
        LogWriter::flush(&writer);
        assert_eq!(writer.dropped(), 2);
        let written = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        assert_eq!(written, "one\ntwo\nfour\n");
    }

    /// Reports when it starts to wait, and then waits forever.
    struct Hanging(Sender<()>);

    impl Write for Hanging {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.send(()).unwrap();
            loop {
                std::thread::park();
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_hangs_costs_a_bounded_queue_and_no_wait() {
        let (begins, waits) = channel();
        let mut writer = LogWriter::start(Hanging(begins));
        writer.write_all(b"it hangs with this one\n").unwrap();
        waits.recv().unwrap();
        for _ in 0..MAX_WAITING_LINES + 10 {
            writer.write_all(b"line\n").unwrap();
        }
        assert_eq!(writer.dropped(), 10);
        LogWriter::flush(&writer);
    }
}
