use super::*;

/// Ten minutes before an outage of ten minutes, and seven hours after it.
fn timeline() -> Timeline {
    Timeline::new(
        TimeDelta::minutes(10),
        TimeDelta::minutes(10),
        TimeDelta::hours(7),
    )
}

fn with_calls(window_seconds: u64, each_second: impl Fn(i64) -> u64) -> CallCounts {
    let mut counts = CallCounts::new(&timeline(), window_seconds);
    for second in 0..(timeline().end - START).num_seconds() {
        for _ in 0..each_second(second) {
            counts.add(START + TimeDelta::seconds(second));
        }
    }
    counts
}

#[test]
fn rates_are_those_before_during_and_after_the_outage() {
    let counts = with_calls(1, |second| match second {
        0..600 => 4,
        600..1200 => 9,
        1200 => 30,
        1201..1800 => 8,
        // 6.5 hours after the outage.
        24600..25200 => 6,
        _ => 4,
    });
    let rates = counts.rates();
    assert_eq!((rates.steady, rates.peak_during), (4.0, 9.0));
    assert_eq!((rates.peak_after, rates.ratio()), (30.0, 7.5));
    // The average of ten minutes is 4.4 if 60 of its seconds are in the surge.
    assert_eq!(rates.surge, Some(TimeDelta::seconds(540)));
    assert_eq!(rates.echo, 6.0);
    assert_eq!(rates.echo_after, TimeDelta::minutes(390));
    assert_eq!(counts.peak(), 30.0);
}

#[test]
fn a_surge_that_does_not_end_is_reported() {
    let counts = with_calls(1, |second| if second < 600 { 4 } else { 5 });
    assert_eq!(counts.rates().surge, None);
}

#[test]
fn wide_windows_give_the_same_rates_and_begin_where_the_outage_ends() {
    // 7 does not divide the time before the outage's end.
    let counts = with_calls(7, |second| if second < 1200 { 7 } else { 21 });
    let rates = counts.rates();
    assert_eq!((rates.steady, rates.peak_during), (7.0, 7.0));
    assert_eq!((rates.peak_after, rates.ratio()), (21.0, 3.0));
}

#[test]
fn a_curve_has_the_mean_of_each_step() {
    let counts = with_calls(1, |second| if second < 1200 { 2 } else { 3 });
    let curve = counts.curve(TimeDelta::minutes(10));
    // The step in which the simulation begins is left out.
    let hour = |minutes: f64| minutes / 60.0;
    assert_eq!(curve[..2], [(hour(-5.0), 2.0), (hour(5.0), 3.0)]);
    assert_eq!(curve.len(), 1 + 7 * 6);
}
