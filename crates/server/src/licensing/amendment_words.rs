//! Amendments in words, for people.

use std::collections::BTreeMap;

use license_core::amendment::{Amendment, Change, Terms, contents};
use license_core::entitlement::Entitlement;
use license_core::plan::LicenseEnd;
use sea_orm::ConnectionTrait;

use crate::licensing::day_words::{days, first_day, hours, last_day};
use crate::licensing::end_words::ends;
use crate::licensing::item_words::ItemNames;
use crate::store::{StoreError, customers};

/// Maximum number of changes that a sentence names.
const MAX_NAMED_CHANGES: usize = 20;

/// The names of customers, by their ids.
pub type CustomerNames = BTreeMap<String, String>;

/// The present names of the customers that amendments are about.
///
/// # Errors
/// If the database returns an error.
pub async fn customer_names(
    db: &impl ConnectionTrait,
    amendments: &[Amendment],
) -> Result<CustomerNames, StoreError> {
    let changes = amendments.iter().flat_map(|it| &it.changes);
    let ids = changes.filter_map(|change| match change {
        Change::Customer(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    });
    customers::names(db, ids.collect()).await
}

/// What an amendment of a license with these amendments does, one statement for each change, by keys
/// as programs write them.
#[must_use]
pub fn all_words(amendment: &Amendment, all: &[Amendment], names: &CustomerNames) -> Vec<String> {
    let told = Told {
        amendments: all,
        customers: names,
        items: &ItemNames::default(),
    };
    told.all_statements(amendment)
}

/// All terms, without those that are the server's own defaults.
fn term_words(terms: &Terms) -> Vec<String> {
    let others = [
        terms.lease_hours.map(|it| format!("lease {}", hours(it))),
        terms
            .grace_hours
            .map(|it| format!("grace period {}", hours(it))),
        terms.offline_days.map(|it| format!("offline {}", days(it))),
        terms.updates_until.map(|it| {
            let rule = terms.updates.as_str();
            format!("updates until {} ({rule})", last_day(it))
        }),
    ];
    let always = [
        format!("seats {}", terms.seats),
        match terms.moves {
            1 => format!("1 move in {}", days(terms.moves_period_days)),
            moves => format!("{moves} moves in {}", days(terms.moves_period_days)),
        },
    ];
    always
        .into_iter()
        .chain(others.into_iter().flatten())
        .collect()
}

/// What statements about amendments are made of.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// All amendments of the license, in the order of their numbers.
    pub amendments: &'a [Amendment],
    /// The names of the customers that they are about.
    pub customers: &'a CustomerNames,
    /// The names of what is sold.
    pub items: &'a ItemNames,
}

impl Told<'_> {
    /// An amendment as a sentence without a full stop, with days in UTC: `16 cameras added from 3 May
    /// 2027, order 4711, by ana`.
    #[must_use]
    pub fn sentence(&self, amendment: &Amendment) -> String {
        let mut parts = self.statements(amendment);
        if let Some(order) = &amendment.order {
            parts.push(format!("order {order}"));
        }
        parts.push(format!("by {}", amendment.author));
        parts.join(", ")
    }

    /// What an amendment does, one statement for each change. Of the terms, those that are different.
    #[must_use]
    pub fn all_statements(&self, amendment: &Amendment) -> Vec<String> {
        let undone = amendment
            .undoes
            .map(|number| format!("amendment {number} undone"));
        let restored = self.restored(amendment);
        let restores_terms = restored.iter().any(Change::is_about_terms);
        let changes = amendment.changes.iter();
        let changes = changes.filter(|it| !(restores_terms && it.is_about_terms()));
        let changes = restored.iter().chain(changes);
        let changes = changes.flat_map(|change| self.change(change, amendment));
        undone.into_iter().chain(changes).collect()
    }

    /// The first 20 of these statements, and the number of the others.
    #[must_use]
    pub fn statements(&self, amendment: &Amendment) -> Vec<String> {
        let mut all = self.all_statements(amendment);
        let others = all.len().saturating_sub(MAX_NAMED_CHANGES);
        if others > 0 {
            all.truncate(MAX_NAMED_CHANGES);
            all.push(format!("{others} more changes"));
        }
        all
    }

    fn change(&self, change: &Change, amendment: &Amendment) -> Vec<String> {
        let statement = match change {
            Change::Grant(entitlement) => self.grant(entitlement),
            Change::End { key } => format!("{} ended", self.items.name(key.as_str())),
            Change::Plan(plan) => format!("plan {plan}"),
            Change::Customer(id) if id.is_empty() => "no customer".to_owned(),
            Change::Customer(id) => format!("customer {}", self.customers.get(id).unwrap_or(id)),
            Change::Start(None) => "starts immediately".to_owned(),
            Change::Start(Some(at)) => format!("starts {}", first_day(*at)),
            Change::Expiry(at) => ends(LicenseEnd::At(*at), last_day),
            Change::Lasts(duration) => ends(LicenseEnd::AfterActivation(*duration), last_day),
            Change::Terms(_) | Change::TermChanges(_) => return self.terms(amendment),
        };
        vec![statement]
    }

    fn grant(&self, entitlement: &Entitlement) -> String {
        let mut text = format!("{} added", self.items.entitled(entitlement));
        if let Some(from) = entitlement.period.from {
            text = format!("{text} from {}", first_day(from));
        }
        if let Some(until) = entitlement.period.until {
            text = format!("{text} until {}", last_day(until));
        }
        text
    }

    /// The amendments that were recorded before another one.
    fn earlier(&self, amendment: &Amendment) -> &[Amendment] {
        let all = self.amendments;
        &all[..all.partition_point(|it| it.number < amendment.number)]
    }

    /// What an amendment changes by undoing another one, apart from what is granted.
    fn restored(&self, amendment: &Amendment) -> Vec<Change> {
        if amendment.undoes.is_none() {
            return Vec::new();
        }
        let undoing = Amendment {
            changes: Vec::new(),
            ..amendment.clone()
        };
        let earlier = self.earlier(amendment);
        let before = contents(earlier, amendment.effective_at);
        let after = contents(&[earlier, &[undoing]].concat(), amendment.effective_at);
        after.differences(&before)
    }

    /// The terms that are different with an amendment than without it, when it takes effect.
    fn terms(&self, amendment: &Amendment) -> Vec<String> {
        let earlier = self.earlier(amendment);
        let known = [earlier, std::slice::from_ref(amendment)].concat();
        let after = contents(&known, amendment.effective_at).terms;
        if earlier.is_empty() {
            return term_words(&after);
        }
        let before = contents(earlier, amendment.effective_at).terms;
        let reset = [
            (before.lease_hours, after.lease_hours, "lease"),
            (before.grace_hours, after.grace_hours, "grace period"),
            (before.offline_days, after.offline_days, "offline lease"),
        ];
        let reset = reset.into_iter();
        let reset = reset.filter(|(before, after, _)| before.is_some() && after.is_none());
        let reset = reset.map(|(_, _, name)| format!("{name} as set on the License Server"));
        let unbounded = before.updates_until.is_some() && after.updates_until.is_none();
        let unbounded = unbounded.then(|| "all updates covered".to_owned());
        let before = term_words(&before);
        let after = term_words(&after).into_iter();
        let changed = after.filter(|it| !before.contains(it));
        changed.chain(reset).chain(unbounded).collect()
    }
}

#[cfg(test)]
mod tests {
    use license_core::amendment::PlanVersion;
    use license_core::catalogue::{CatalogueEntry, Kind};
    use license_core::entitlement::{Period, Quantity};
    use license_core::feature::FeatureKey;

    use super::*;

    fn amendment(number: u32, changes: Vec<Change>) -> Amendment {
        let at = "2027-04-01T09:00:00Z".parse().unwrap();
        Amendment {
            number,
            author: "ana".to_owned(),
            reason: None,
            order: (number == 2).then(|| "4711".to_owned()),
            recorded_at: at,
            effective_at: at,
            undoes: None,
            changes,
        }
    }

    fn cameras() -> ItemNames {
        let entry = CatalogueEntry {
            key: "cameras".to_owned(),
            kind: Kind::Count,
            name: "Cameras".to_owned(),
            unit: "camera".to_owned(),
            description: String::new(),
        };
        [entry].into_iter().collect()
    }

    fn sentence(amendments: &[Amendment], number: usize) -> String {
        let told = Told {
            amendments,
            customers: &CustomerNames::new(),
            items: &cameras(),
        };
        told.sentence(&amendments[number - 1])
    }

    #[test]
    fn an_amendment_reads_like_a_sentence() {
        let key = FeatureKey::parse("cameras").unwrap();
        let from = "2027-05-03T00:00:00Z".parse().ok();
        let granted = Entitlement {
            period: Period { from, until: None },
            ..Entitlement::count(key, Quantity::Of(16))
        };
        let all = [
            amendment(1, vec![Change::Terms(Terms::default())]),
            amendment(2, vec![Change::Grant(granted)]),
        ];
        assert_eq!(
            sentence(&all, 2),
            "16 cameras added from 3 May 2027, order 4711, by ana"
        );
        assert_eq!(sentence(&all, 1), "seats 1, 3 moves in 365 days, by ana");
    }

    #[test]
    fn only_terms_that_are_different_are_named() {
        let terms = |seats, lease_hours| {
            Change::Terms(Terms {
                seats,
                lease_hours,
                ..Terms::default()
            })
        };
        let all = [
            amendment(1, vec![terms(1, None)]),
            amendment(2, vec![terms(3, Some(48))]),
            amendment(3, vec![terms(3, None)]),
        ];
        assert_eq!(
            sentence(&all, 2),
            "seats 3, lease 48 hours, order 4711, by ana"
        );
        assert_eq!(
            sentence(&all, 3),
            "lease as set on the License Server, by ana"
        );
    }

    #[test]
    fn a_sentence_about_many_changes_ends() {
        let plan = |version| {
            let name = "professional".to_owned();
            Change::Plan(PlanVersion { name, version })
        };
        let all = [amendment(1, (1..=25).map(plan).collect())];
        let sentence = sentence(&all, 1);
        assert!(sentence.contains("professional@20, 5 more changes, by ana"));
        assert!(!sentence.contains("professional@21"), "{sentence}");
    }
}
