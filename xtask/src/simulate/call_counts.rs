//! How many calls per second the License Server sees.

use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};

use super::license_server::{START, Timeline};

/// The time over which a rate is averaged to see its trend.
const AVERAGED: TimeDelta = TimeDelta::minutes(10);
/// A surge is over when the average is at most this multiple of the steady state.
const TOLERANCE: f64 = 1.1;
/// The echo of an outage is looked for from this time after its end: sites that were confirmed
/// together validate again.
const ECHO_FROM: TimeDelta = TimeDelta::hours(6);

/// The calls in windows of time, one of which begins where the outage ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallCounts {
    window_seconds: u64,
    /// The beginning of the first window.
    from: DateTime<Utc>,
    /// The windows of the outage.
    outage: Range<usize>,
    counts: Vec<u32>,
}

/// The rates of one simulation, in calls per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    /// The mean before the outage.
    pub(super) steady: f64,
    /// The highest during the outage, when no call is answered; 0 without an outage.
    pub(super) peak_during: f64,
    /// The highest after the outage.
    pub(super) peak_after: f64,
    /// How long after the outage until the average is at most 10 % above the steady state; `None`
    /// if not within the simulated time.
    pub(super) surge: Option<TimeDelta>,
    /// The highest average from six hours after the outage on …
    pub(super) echo: f64,
    /// … and how long after the outage it begins.
    pub(super) echo_after: TimeDelta,
}

impl Rates {
    /// The peak after the outage, relative to the steady state.
    pub(super) fn ratio(&self) -> f64 {
        self.peak_after / self.steady
    }
}

impl CallCounts {
    pub(super) fn new(timeline: &Timeline, window_seconds: u64) -> Self {
        let windows = |from: DateTime<Utc>, to: DateTime<Utc>| {
            let seconds = u64::try_from((to - from).num_seconds()).unwrap_or_default();
            usize::try_from(seconds.div_ceil(window_seconds)).unwrap_or_default()
        };
        let outage_end = windows(START, timeline.outage_end);
        let outage_start =
            outage_end.saturating_sub(windows(timeline.outage_start, timeline.outage_end));
        let counts = outage_end + windows(timeline.outage_end, timeline.end);
        Self {
            window_seconds,
            from: timeline.outage_end - span(outage_end, window_seconds),
            outage: outage_start..outage_end,
            counts: vec![0; counts],
        }
    }

    /// Counts a call at `now`.
    pub(super) fn add(&mut self, now: DateTime<Utc>) {
        let seconds = u64::try_from((now - self.from).num_seconds()).unwrap_or_default();
        let window = usize::try_from(seconds / self.window_seconds).unwrap_or_default();
        if let Some(count) = self.counts.get_mut(window) {
            *count += 1;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// The number of calls.
    pub(super) fn total(&self) -> u64 {
        sum(&self.counts)
    }

    /// The highest rate in any window.
    pub(super) fn peak(&self) -> f64 {
        self.highest(&self.counts)
    }

    pub(super) fn rates(&self) -> Rates {
        let (before, after) = (&self.counts[..self.outage.start], self.outage.end);
        // The simulation may begin within the first window.
        let before = before.get(1..).unwrap_or_default();
        let steady = self.mean(before);
        let averages = self.averages(&self.counts[after..], AVERAGED);
        let is_over = |average: &f64| *average <= TOLERANCE * steady;
        let surge = averages.iter().position(is_over);
        let echo_from = self.windows(ECHO_FROM).min(averages.len());
        let echo = (echo_from..averages.len()).max_by(|a, b| averages[*a].total_cmp(&averages[*b]));
        Rates {
            steady,
            peak_during: self.highest(&self.counts[self.outage.clone()]),
            peak_after: self.highest(&self.counts[after..]),
            surge: surge.map(|window| span(window, self.window_seconds)),
            echo: echo.map_or(0.0, |window| averages[window]),
            echo_after: span(echo.unwrap_or_default(), self.window_seconds),
        }
    }

    /// The mean rate of each `step` of the simulation, with the time of its middle, in hours after
    /// the outage.
    pub(super) fn curve(&self, step: TimeDelta) -> Vec<(f64, f64)> {
        let step = self.windows(step);
        let hours = |window: usize| {
            let windows = window as f64 - self.outage.end as f64 + step as f64 / 2.0;
            windows * self.window_seconds as f64 / 3600.0
        };
        // A step begins where the outage ends. One in which the simulation begins is left out.
        let first = 1 + self.outage.end.saturating_sub(1) % step;
        let steps = self.counts[first.min(self.counts.len())..].chunks_exact(step);
        let steps = steps.enumerate();
        steps
            .map(|(index, counts)| (hours(first + index * step), self.mean(counts)))
            .collect()
    }

    /// The mean of `over`, from each window on.
    fn averages(&self, counts: &[u32], over: TimeDelta) -> Vec<f64> {
        let windows = counts.windows(self.windows(over));
        windows.map(|counts| self.mean(counts)).collect()
    }

    fn windows(&self, time: TimeDelta) -> usize {
        let seconds = u64::try_from(time.num_seconds()).unwrap_or_default();
        usize::try_from(seconds / self.window_seconds).map_or(1, |windows| windows.max(1))
    }

    fn mean(&self, counts: &[u32]) -> f64 {
        sum(counts) as f64 / (counts.len().max(1) as f64 * self.window_seconds as f64)
    }

    fn highest(&self, counts: &[u32]) -> f64 {
        let highest = counts.iter().max().copied().unwrap_or_default();
        f64::from(highest) / self.window_seconds as f64
    }
}

fn span(windows: usize, window_seconds: u64) -> TimeDelta {
    let seconds = i64::try_from(windows as u64 * window_seconds).unwrap_or(i64::MAX);
    TimeDelta::seconds(seconds)
}

fn sum(counts: &[u32]) -> u64 {
    counts.iter().map(|count| u64::from(*count)).sum()
}

#[cfg(test)]
mod tests;
