use std::io::Write as _;

use chrono::{DateTime, TimeDelta};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::clock::ManualClock;

/// Lines that were written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn limited() -> (impl Subscriber, Lines, LogLimit, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
    let limit = LogLimit::new(clock.clone());
    let lines = Lines::default();
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(lines.clone());
    let subscriber = tracing_subscriber::registry().with(limit.clone()).with(log);
    (subscriber, lines, limit, clock)
}

fn refuse(peer: u32) {
    tracing::warn!(peer, "refused a wrong token");
}

#[test]
fn ten_thousand_refusals_are_a_few_lines_and_a_right_count() {
    let (subscriber, lines, limit, clock) = limited();
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..10_000 {
            refuse(number);
            tracing::error!(number, "a request ended in a panic");
        }
        tracing::info!("listening");
        let written = lines.take();
        assert_eq!(written.len(), 11, "{written:#?}");
        assert!(
            written[0].contains("refused a wrong token peer=0"),
            "{}",
            written[0]
        );
        limit.report();
        let mut reported = lines.take();
        reported.sort_by_key(|line| line.contains("WARN"));
        assert_eq!(reported.len(), 2, "{reported:#?}");
        for (line, level, event) in [
            (&reported[0], "ERROR", "a request ended in a panic"),
            (&reported[1], "WARN", "refused a wrong token"),
        ] {
            assert!(line.contains(level) && line.contains(event), "{line}");
            assert!(line.contains("count=9995"), "{line}");
        }
        limit.report();
        assert!(lines.take().is_empty());
        // After the interval it is written again, and the count is not lost.
        refuse(1);
        assert!(lines.take().is_empty());
        clock.advance(TimeDelta::seconds(60));
        refuse(2);
        assert!(lines.take()[0].contains("peer=2"));
        limit.report();
        assert!(lines.take()[0].contains("count=1 "));
    });
}

#[test]
fn other_lines_are_written_whatever_is_repeated() {
    let (subscriber, lines, ..) = limited();
    tracing::subscriber::with_default(subscriber, || {
        (0..100).for_each(refuse);
        lines.take();
        tracing::warn!("the database does not answer");
        for number in 0..100 {
            tracing::debug!(number, "asked for by the operator");
        }
        assert_eq!(lines.take().len(), 101);
    });
}

#[test]
fn a_long_line_is_cut_and_one_of_json_stays_json() {
    let written = |line: &str, are_json| {
        let mut short = ShortLines {
            inner: Vec::new(),
            are_json,
        };
        short.write_all(line.as_bytes()).unwrap();
        String::from_utf8(short.inner).unwrap()
    };
    assert_eq!(written("a line\n", false), "a line\n");
    for line in ["ü".repeat(100_000), format!("x{}", "ü".repeat(100_000))] {
        let cut = written(&line, false);
        assert!(cut.len() <= MAX_LINE_BYTES && cut.ends_with("ü …\n"));
        let json = written(&line, true);
        assert!(json.starts_with('{') && json.ends_with("}\n"), "{json}");
        assert!(
            json.contains(&format!("\"bytes\":{},", line.len())),
            "{json}"
        );
    }
}

/// Displayed only when another thread has written a line to the same log.
struct Logs {
    log: tracing::Dispatch,
    wrote: Mutex<Vec<bool>>,
}

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.log.clone();
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            tracing::dispatcher::with_default(&log, || tracing::warn!("a line within a line"));
            let _ = done.send(());
        });
        let wrote = is_done.recv_timeout(Duration::from_secs(10)).is_ok();
        self.wrote.lock().unwrap().push(wrote);
        f.write_str("displayed")
    }
}

#[test]
fn a_message_that_logs_while_it_is_formatted_blocks_no_other_line() {
    let (subscriber, lines, limit, _) = limited();
    let log = tracing::Dispatch::new(subscriber);
    let logs = Logs {
        log: log.clone(),
        wrote: Mutex::default(),
    };
    tracing::dispatcher::with_default(&log, || {
        tracing::error!("{logs}");
        let wrote = logs.wrote.lock().unwrap();
        assert!(!wrote.is_empty() && wrote.iter().all(|it| *it), "{wrote:?}");
        let written = lines.take();
        let is_last = written.last().unwrap().contains("displayed");
        assert!(is_last, "{written:#?}");
        assert!(written[0].contains("a line within a line"), "{written:#?}");
        limit.report();
        assert!(lines.take().is_empty());
    });
}

#[test]
fn a_message_is_formatted_no_further_than_it_is_kept() {
    struct Endless;
    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("ü")?;
            }
        }
    }
    let mut message = Message::default();
    assert!(write!(message, "x{Endless}").is_err());
    assert_eq!(message.0, format!("x{}", "ü".repeat(99)));
}

#[test]
fn a_message_cannot_forge_a_line() {
    let written = |line: &str, are_json| {
        let mut lines = ShortLines {
            inner: Vec::new(),
            are_json,
        };
        lines.write_all(line.as_bytes()).unwrap();
        String::from_utf8(lines.inner).unwrap()
    };
    for (line, expected) in [
        ("a\nERROR b\n", "a\\nERROR b\n"),
        ("a\r\nb\n\n", "a\\r\\nb\\n\n"),
        ("a\rb ü\u{b}\u{c}", "a\\rb ü\\x0b\\x0c"),
        ("ü\n", "ü\n"),
    ] {
        assert_eq!(written(line, false), expected);
    }
    assert_eq!(written("{\n}\n", true), "{\n}\n");
    let long = written(&"\n".repeat(10_000), false);
    assert!(long.len() <= MAX_LINE_BYTES && long.ends_with(" …\n"));
    assert_eq!(long.lines().count(), 1);
}

#[test]
fn a_repeated_message_is_cut() {
    let (subscriber, lines, limit, _) = limited();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..10 {
            tracing::warn!("{}", "ü".repeat(10_000));
        }
        lines.take();
        limit.report();
        assert!(lines.take()[0].len() < 500);
    });
}
