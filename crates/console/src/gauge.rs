//! Gauges that show usage against a limit.

/// Usage and its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// What is counted: its name, or a code in `words.html`.
    pub resource: String,
    /// Formatted for display.
    pub in_use: String,
    /// `None` if there is no limit.
    pub limit: Option<u64>,
    /// How far usage exceeds the limit; `None` if it does not.
    pub over: Option<u64>,
    /// Percentage of the limit, at most 100.
    pub percent: u64,
    /// CSS class of the bar.
    pub tone: &'static str,
}

impl Gauge {
    /// `in_use` is `None` if unknown, `limit` is `None` if unlimited.
    #[must_use]
    pub fn of(resource: &str, in_use: Option<u64>, limit: Option<u64>) -> Self {
        let used = in_use.unwrap_or_default().saturating_mul(100);
        let percent = limit.map_or(0, |limit| used.checked_div(limit).unwrap_or(100).min(100));
        Self {
            resource: resource.to_owned(),
            over: in_use.zip(limit).and_then(|(used, limit)| {
                let over = used.saturating_sub(limit);
                (over > 0).then_some(over)
            }),
            in_use: in_use.map_or("–".to_owned(), |used| used.to_string()),
            limit,
            percent,
            tone: match percent {
                0..80 => "",
                80..100 => "wait",
                _ => "bad",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Gauge;

    #[test]
    fn a_gauge_is_full_at_its_limit_and_never_exceeds_100_percent() {
        let of = |in_use, limit| {
            let gauge = Gauge::of("cameras", in_use, limit);
            (gauge.in_use, gauge.percent, gauge.tone)
        };
        assert_eq!(of(None, Some(10)), ("–".to_owned(), 0, ""));
        assert_eq!(of(Some(8), Some(10)), ("8".to_owned(), 80, "wait"));
        assert_eq!(of(Some(u64::MAX), Some(10)).1, 100);
        assert_eq!(of(Some(3), None).1, 0);
        assert_eq!(of(Some(0), Some(0)), ("0".to_owned(), 100, "bad"));
    }

    #[test]
    fn a_gauge_says_how_far_usage_is_over_the_limit() {
        let over = |in_use, limit| Gauge::of("anpr_lanes", in_use, limit).over;
        assert_eq!(over(Some(9), Some(8)), Some(1));
        assert_eq!(over(Some(8), Some(8)), None);
        assert_eq!(over(None, Some(0)), None);
        assert_eq!(over(Some(9), None), None);
    }
}
