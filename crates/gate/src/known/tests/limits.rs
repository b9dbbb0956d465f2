//! The limits of a gate, now and later.

use super::*;

impl Machine {
    #[track_caller]
    fn expect_limit(&mut self, key: &str, limit: Limit) {
        for _ in 0..2 {
            assert_eq!(self.table.limit(key, self.ticks(), None), limit, "{key}");
            self.update();
        }
    }
}

/// Eight lanes on the first day, then none.
fn eight_lanes(now: DateTime<Utc>) -> Announcement {
    let mut announcement = licensed(now);
    announcement.limits.insert("anpr_lanes".to_owned(), Some(8));
    let mut later = announcement.limits.clone();
    later.insert("anpr_lanes".to_owned(), Some(0));
    announcement.then[0].limits = Some(later);
    announcement
}

#[test]
fn limits_change_on_time_without_contact() {
    for policy in POLICIES {
        let mut machine = Machine::new(policy, None);
        machine.expect_limit("anpr_lanes", Limit::Unknown);
        machine.apply(&eight_lanes(machine.wall), None);
        machine.expect_limit("anpr_lanes", Limit::AtMost(8));
        machine.expect_limit("users", Limit::Unlimited);
        // The License Client says nothing of storage, which every license may limit; what else it
        // does not name, the license does not count.
        machine.expect_limit("storage_gb", Limit::Unknown);
        machine.expect_limit("doors", Limit::AtMost(0));
        machine.pass(HOUR);
        machine.lose_contact();
        machine.pass(23 * HOUR);
        machine.expect_limit("anpr_lanes", Limit::AtMost(8));
        machine.pass(Duration::from_nanos(1));
        // Like features, limits stay as they were when contact was lost if the policy is to allow.
        let lanes = match policy {
            WithoutContact::Allow => 8,
            _ => 0,
        };
        machine.expect_limit("anpr_lanes", Limit::AtMost(lanes));
        machine.expect_limit("cameras", Limit::AtMost(64));
        // The last state announces no limits, so those of the state before it apply.
        machine.pass(5 * DAY);
        machine.expect_limit("anpr_lanes", Limit::AtMost(lanes));
        machine.expect_limit("cameras", Limit::AtMost(64));
    }
}

#[test]
fn a_new_limit_replaces_the_later_ones() {
    let mut machine = Machine::new(WithoutContact::KeepUntilEnd, None);
    machine.apply(&eight_lanes(machine.wall), None);
    let mut more = licensed(machine.wall);
    more.limits.insert("anpr_lanes".to_owned(), Some(9));
    machine.apply(&more, None);
    machine.pass(2 * DAY);
    machine.expect_limit("anpr_lanes", Limit::AtMost(9));
}
