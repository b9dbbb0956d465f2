//! The results as tables for people.

use std::fmt::Write as _;

use chrono::TimeDelta;

use super::results::{AddressResult, FleetResult, Results, SITES_OF_ADDRESS};

/// The tables.
pub(super) fn table(results: &Results) -> String {
    let mut text = String::new();
    let window = match results.window_seconds {
        1 => "second".to_owned(),
        seconds => format!("{seconds} s"),
    };
    text += &format!(
        "\n{} sites: calls per second; a peak is the highest rate in any {window}\n\n\
         outage  seed  steady  in outage  peak after  ratio  surge over      echo  recovered  \
         in grace  grace left  near lapse  lapsed\n",
        results.plan.sites
    );
    for fleet in &results.fleets {
        add_fleet(&mut text, fleet);
    }
    text += &format!(
        "\n{SITES_OF_ADDRESS} sites behind one address\n\n\
         outage  seed   calls  told to wait  most used  peak/s  recovered  without limits  \
         grace left  lapsed\n"
    );
    for address in &results.addresses {
        add_address(&mut text, address);
    }
    text
}

fn add_fleet(text: &mut String, fleet: &FleetResult) {
    let (rates, sites) = (&fleet.rates, &fleet.sites);
    let echo = format!(
        "{:.1}x +{}h",
        rates.echo / rates.steady,
        rates.echo_after.num_hours()
    );
    // Writing to a text does not fail.
    let written = writeln!(
        text,
        "{:>4} h {:>6} {:>7.1} {:>10.1} {:>11.1} {:>6.2} {:>11} {:>9} {:>10} {:>9} {:>11} {:>11} \
         {:>7}",
        fleet.outage_hours,
        fleet.seed,
        rates.steady,
        rates.peak_during,
        rates.peak_after,
        rates.ratio(),
        minutes(rates.surge),
        echo,
        minutes(fleet.recovery),
        sites.in_grace,
        hours(sites.grace_left),
        sites.near_lapse,
        sites.lapsed,
    );
    written.unwrap_or_default();
}

fn add_address(text: &mut String, address: &AddressResult) {
    let limited = &address.limited;
    let outage = match address.outage_hours {
        0 => "none".to_owned(),
        hours => format!("{hours} h"),
    };
    let written = writeln!(
        text,
        "{outage:>6} {:>5} {:>7} {:>13} {:>10} {:>7.0} {:>10} {:>15} {:>11} {:>7}",
        address.seed,
        limited.calls.total(),
        limited.sites.told_to_wait,
        limited.most_used,
        limited.calls.peak(),
        minutes(address.recovery),
        minutes(address.unlimited_recovery),
        hours(limited.sites.grace_left),
        limited.sites.lapsed,
    );
    written.unwrap_or_default();
}

fn minutes(time: Option<TimeDelta>) -> String {
    let seconds = time.map(|time| time.num_seconds());
    seconds.map_or("-".to_owned(), |seconds| {
        format!("{} min", (seconds + 59) / 60)
    })
}

fn hours(time: Option<TimeDelta>) -> String {
    let minutes = time.map(|time| time.num_minutes());
    minutes.map_or("-".to_owned(), |minutes| {
        format!("{:.1} h", minutes as f64 / 60.0)
    })
}
