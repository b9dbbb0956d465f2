//! Parses log levels, including common synonyms.

use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::trimmed::trimmed;

/// The level if a list names only parts of the program: nothing is silenced without being named.
const DEFAULT: LevelFilter = LevelFilter::INFO;

/// The part of the program whose `trace` lines contain the addresses of requests.
const ADDRESSES: &str = "tower_http";

/// A general log level, and other levels for parts of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    level: LevelFilter,
    parts: Vec<(String, LevelFilter)>,
}

/// The text is not a valid filter. The message says what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected trace, debug, info, warn, error or off, optionally with levels for parts of the \
     program, as in 'info,license_client=debug'"
)]
pub struct LogFilterError;

impl LogFilter {
    /// Only lines of this level or above.
    #[must_use]
    pub fn of(level: LevelFilter) -> Self {
        Self {
            level,
            parts: Vec::new(),
        }
    }

    /// Lines that contain request URLs are never enabled, because a URL may contain a license key.
    pub(crate) fn targets(&self) -> Targets {
        let without_addresses = |part: &str, level: LevelFilter| match part.starts_with(ADDRESSES) {
            true => level.min(LevelFilter::DEBUG),
            false => level,
        };
        let parts = self.parts.iter();
        let parts = parts.map(|(part, level)| (part.clone(), without_addresses(part, *level)));
        let all = without_addresses(ADDRESSES, self.level);
        Targets::new()
            .with_default(self.level)
            .with_target(ADDRESSES, all)
            .with_targets(parts)
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    /// A list of levels, `info`, and of levels for parts of the program,
    /// `license_client=debug`. A part includes everything whose path begins with its name.
    fn from_str(text: &str) -> Result<Self, LogFilterError> {
        let mut all = None;
        let mut parts = Vec::new();
        for entry in text.split(',').map(trimmed).filter(|it| !it.is_empty()) {
            match entry.split_once('=') {
                Some((part, word)) => {
                    let part = Some(trimmed(part)).filter(|part| is_path(part));
                    let part = part.ok_or(LogFilterError)?;
                    parts.push((part.to_owned(), level(word)?));
                }
                None if all.is_some() => return Err(LogFilterError),
                None => all = Some(level(entry)?),
            }
        }
        if all.is_none() && parts.is_empty() {
            return Err(LogFilterError);
        }
        Ok(Self {
            level: all.unwrap_or(DEFAULT),
            parts,
        })
    }
}

/// Includes the names of other programs and systems: `syslog(3)`, Python, Java, .NET.
fn level(word: &str) -> Result<LevelFilter, LogFilterError> {
    Ok(match trimmed(word).to_lowercase().as_str() {
        "trace" | "all" | "finest" => LevelFilter::TRACE,
        "debug" | "verbose" | "fine" => LevelFilter::DEBUG,
        "info" | "information" | "informational" | "notice" | "normal" => LevelFilter::INFO,
        "warn" | "warning" | "warnings" => LevelFilter::WARN,
        // The highest level.
        "error" | "errors" | "err" | "critical" | "crit" | "fatal" | "severe" | "alert"
        | "emerg" | "emergency" | "panic" => LevelFilter::ERROR,
        "off" | "none" | "silent" | "disabled" => LevelFilter::OFF,
        _ => return Err(LogFilterError),
    })
}

/// `license_client::http`
fn is_path(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
    !text.is_empty() && text.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn words_mean_what_people_mean_and_no_word_silences_by_mistake() {
        for (words, level) in [
            ("trace Trace ALL", LevelFilter::TRACE),
            ("debug DEBUG verbose", LevelFilter::DEBUG),
            ("info INFO information notice", LevelFilter::INFO),
            ("warn warning Warning WARN", LevelFilter::WARN),
            ("error ERR err critical CRITICAL fatal", LevelFilter::ERROR),
            ("off OFF none None silent", LevelFilter::OFF),
        ] {
            for word in words.split(' ') {
                assert_eq!(word.parse(), Ok(LogFilter::of(level)), "{word}");
                assert_eq!(format!(" {word}\r").parse(), Ok(LogFilter::of(level)));
            }
        }
        for wrong in [
            "",
            " ",
            ",",
            "warming",
            "on",
            "true",
            "3",
            "30",
            "info,debug",
            "license_client",
            "license_client=",
            "=debug",
            "license_client=loud",
            "a b=info",
            "info debug",
            "[span]=info",
            "license_client=debug=info",
            "\"info\"",
            "info;license_client=debug",
        ] {
            assert_eq!(wrong.parse::<LogFilter>(), Err(LogFilterError), "{wrong}");
        }
    }

    #[test]
    fn a_list_says_more_of_a_part_and_leaves_the_rest_as_it_was() {
        let enables = |filter: &str, target: &str, level: Level| {
            let filter: LogFilter = filter.parse().unwrap();
            filter.targets().would_enable(target, &level)
        };
        for filter in [
            "license_client=debug,info",
            "info, license_client = Debug",
            "license_client=debug",
        ] {
            assert!(
                enables(filter, "license_client::jobs", Level::DEBUG),
                "{filter}"
            );
            assert!(
                !enables(filter, "license_client::jobs", Level::TRACE),
                "{filter}"
            );
            assert!(enables(filter, "license_service", Level::ERROR), "{filter}");
            assert!(enables(filter, "license_service", Level::INFO), "{filter}");
            assert!(
                !enables(filter, "license_service", Level::DEBUG),
                "{filter}"
            );
        }
        assert!(!enables(
            "off,license_client=warning",
            "hyper",
            Level::ERROR
        ));
        assert!(enables(
            "off,license_client=warning",
            "license_client",
            Level::WARN
        ));
        assert!(!enables("info,hyper=none", "hyper::proto", Level::ERROR));
    }

    #[test]
    fn no_level_enables_lines_that_contain_addresses_of_requests() {
        let enables = |filter: &str, level: Level| {
            let filter: LogFilter = filter.parse().unwrap();
            let target = "tower_http::csrf::service";
            filter.targets().would_enable(target, &level)
        };
        for filter in [
            "trace",
            "tower_http=trace",
            "info,tower=trace",
            "tower_http::csrf::service=trace,trace",
        ] {
            assert!(!enables(filter, Level::TRACE), "{filter}");
            assert!(enables(filter, Level::INFO), "{filter}");
        }
        assert!(!enables("warn", Level::INFO));
        assert!(!enables("trace,tower_http=off", Level::ERROR));
    }
}
