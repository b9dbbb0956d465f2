//! Determines which key signs.

use chrono::{DateTime, TimeDelta, Utc};

/// How far this server's clock may be behind that of the machine on which the next key was made. It
/// is less than the margin of the published times, so that clients accept what the key then signs.
pub(super) const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(10);

/// The signing period of a published key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The start of the period.
    pub(super) from: DateTime<Utc>,
    /// The end of trust by clients; `None` means forever.
    pub(super) until: Option<DateTime<Utc>>,
}

/// The key that signs at `now`, among the published and not revoked keys: the one that started
/// last. While none has started, it is the one that starts next, if that is within
/// [`MAX_CLOCK_SKEW`]: of two servers that share their keys, the one whose clock is behind keeps
/// signing when a key that signs immediately was created on the other, and the previous one was
/// revoked.
pub(super) fn active_key<K: Copy>(
    keys: impl IntoIterator<Item = (K, Turn)>,
    now: DateTime<Utc>,
) -> Option<K> {
    let valid = |(_, turn): &(K, Turn)| turn.until.is_none_or(|until| now <= until);
    let (begun, next): (Vec<_>, Vec<_>) = keys
        .into_iter()
        .filter(valid)
        .partition(|(_, turn)| turn.from <= now);
    let newest = begun.into_iter().rev().max_by_key(|(_, turn)| turn.from);
    let first = || {
        let soon = |(_, turn): &(K, Turn)| turn.from - now <= MAX_CLOCK_SKEW;
        next.into_iter()
            .filter(soon)
            .min_by_key(|(_, turn)| turn.from)
    };
    newest.or_else(first).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key by its turn, in minutes from now.
    fn key(name: &'static str, from: i64, until: Option<i64>) -> (&'static str, Turn) {
        let at = |minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let turn = Turn {
            from: at(from),
            until: until.map(at),
        };
        (name, turn)
    }

    #[test]
    fn the_key_that_began_last_signs_and_else_the_one_that_begins_within_ten_minutes() {
        let week = 7 * 24 * 60;
        let table = [
            ("no key at all", vec![], None),
            ("the first key", vec![key("a", -week, None)], Some("a")),
            (
                "a key from this instant on",
                vec![key("a", 0, None)],
                Some("a"),
            ),
            (
                "the newer of two",
                vec![key("b", -5, None), key("a", -week, Some(55))],
                Some("b"),
            ),
            (
                "in any order",
                vec![key("a", -week, Some(55)), key("b", -5, None)],
                Some("b"),
            ),
            (
                "the first of two that began together",
                vec![key("b", -5, None), key("a", -5, None)],
                Some("b"),
            ),
            (
                "the next one has not begun, however soon it does",
                vec![key("b", 1, None), key("a", -week, Some(61))],
                Some("a"),
            ),
            (
                "two minutes behind, and the old key was revoked",
                vec![key("b", 2, None)],
                Some("b"),
            ),
            ("ten minutes behind", vec![key("b", 10, None)], Some("b")),
            ("eleven minutes behind", vec![key("b", 11, None)], None),
            (
                "the earlier of two that come",
                vec![key("c", 8, None), key("b", 2, Some(68))],
                Some("b"),
            ),
            (
                "the old key has ended",
                vec![key("b", 2, None), key("a", -week, Some(-1))],
                Some("b"),
            ),
            (
                "the old key ends now",
                vec![key("b", 2, None), key("a", -week, Some(0))],
                Some("a"),
            ),
            (
                "one that has ended before it began",
                vec![key("a", 2, Some(-1))],
                None,
            ),
        ];
        for (case, keys, expected) in table {
            assert_eq!(active_key(keys, DateTime::UNIX_EPOCH), expected, "{case}");
        }
    }
}
