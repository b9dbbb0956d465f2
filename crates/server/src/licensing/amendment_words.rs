//! Amendments in words, for people.
//!
//! Words are found for many amendments together, in one pass over their changes, and only in a turn of
//! `licensing::evaluation::evaluated`.

use std::collections::BTreeMap;
use std::sync::Arc;

use license_core::amendment::{Amendment, Change, Step, Terms, steps};
use license_core::entitlement::Entitlement;
use license_core::plan::LicenseEnd;
use sea_orm::ConnectionTrait;

use crate::licensing::day_words::{days, first_day, hours, last_day};
use crate::licensing::end_words::ends;
use crate::licensing::evaluation::{Evaluating, evaluated};
use crate::licensing::item_words::ItemNames;
use crate::store::{Store, StoreError, customers};

/// Maximum number of changes that a sentence names.
const MAX_NAMED_CHANGES: usize = 20;

/// The names of customers, by their ids.
pub type CustomerNames = BTreeMap<String, String>;

/// The present names of the customers that amendments are about.
///
/// # Errors
/// If the database returns an error.
pub async fn customer_names<'a>(
    db: &impl ConnectionTrait,
    amendments: impl IntoIterator<Item = &'a Amendment>,
) -> Result<CustomerNames, StoreError> {
    let changes = amendments.into_iter().flat_map(|it| &it.changes);
    let ids = changes.filter_map(|change| match change {
        Change::Customer(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    });
    customers::names(db, ids).await
}

/// What these amendments of a license do, one statement for each change, by keys as programs write
/// them. `all` are the amendments of the license, as for [`Told::new`].
#[must_use]
pub fn all_words(
    evaluating: &Evaluating,
    of: &[&Amendment],
    all: &[Amendment],
    names: &CustomerNames,
) -> Vec<Vec<String>> {
    Told::new(evaluating, all, names, &ItemNames::default()).all_statements(of)
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

/// The amendments of a license, with what statements about them are made of. Clones share it.
#[derive(Clone, Debug)]
pub struct History {
    amendments: Arc<[Amendment]>,
    customers: Arc<CustomerNames>,
    items: Arc<ItemNames>,
}

impl History {
    /// All amendments of a license, in the order of their numbers.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn read(
        db: &impl ConnectionTrait,
        amendments: Vec<Amendment>,
    ) -> Result<Self, StoreError> {
        let customers = customer_names(db, &amendments).await?;
        let items = ItemNames::read(db).await?;
        Ok(Self::new(amendments.into(), customers, items))
    }

    /// The same with names that are known.
    #[must_use]
    pub fn new(amendments: Arc<[Amendment]>, customers: CustomerNames, items: ItemNames) -> Self {
        Self {
            amendments,
            customers: customers.into(),
            items: items.into(),
        }
    }

    /// The names of what is sold.
    #[must_use]
    pub fn items(&self) -> Arc<ItemNames> {
        self.items.clone()
    }

    /// The words for the amendments.
    ///
    /// # Errors
    /// As [`evaluated`].
    pub async fn told<T: Send + 'static>(
        &self,
        store: &Store,
        tell: impl FnOnce(Told<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let Self {
            amendments,
            customers,
            items,
        } = self.clone();
        let tell = move |evaluating: &Evaluating| {
            tell(Told::new(evaluating, &amendments, &customers, &items))
        };
        evaluated(store, tell).await
    }
}

/// What statements about amendments are made of.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    amendments: &'a [Amendment],
    customers: &'a CustomerNames,
    items: &'a ItemNames,
}

impl<'a> Told<'a> {
    /// All amendments of the license, in the order of their numbers, the names of the customers that
    /// they are about, and the names of what is sold.
    #[must_use]
    pub fn new(
        _evaluating: &Evaluating,
        amendments: &'a [Amendment],
        customers: &'a CustomerNames,
        items: &'a ItemNames,
    ) -> Self {
        Self {
            amendments,
            customers,
            items,
        }
    }

    /// All amendments of the license, in the order of their numbers.
    #[must_use]
    pub fn amendments(&self) -> &'a [Amendment] {
        self.amendments
    }

    /// The names of what is sold.
    #[must_use]
    pub fn items(&self) -> &'a ItemNames {
        self.items
    }

    /// Each amendment as a sentence without a full stop, with days in UTC: `16 cameras added from 3
    /// May 2027, order 4711, by ana`.
    #[must_use]
    pub fn sentences(&self, of: &[&Amendment]) -> Vec<String> {
        let statements = self.statements(of).into_iter();
        let sentences = statements.zip(of).map(|(mut parts, amendment)| {
            if let Some(order) = &amendment.order {
                parts.push(format!("order {order}"));
            }
            parts.push(format!("by {}", amendment.author));
            parts.join(", ")
        });
        sentences.collect()
    }

    /// What each amendment does, one statement for each change. Of the terms, those that are
    /// different. Each may be one of the license's, or change less, or follow all of them.
    #[must_use]
    pub fn all_statements(&self, of: &[&Amendment]) -> Vec<Vec<String>> {
        let needed = of.iter().copied().filter(|it| needs_step(it));
        let mut steps = steps(self.amendments, &needed.collect::<Vec<_>>()).into_iter();
        let all = of.iter().map(|amendment| {
            let step = needs_step(amendment).then(|| steps.next()).flatten();
            self.of_one(amendment, step.as_ref())
        });
        all.collect()
    }

    /// The first 20 of the statements about each, and the number of the others.
    #[must_use]
    pub fn statements(&self, of: &[&Amendment]) -> Vec<Vec<String>> {
        let mut all = self.all_statements(of);
        for statements in &mut all {
            let others = statements.len().saturating_sub(MAX_NAMED_CHANGES);
            if others > 0 {
                statements.truncate(MAX_NAMED_CHANGES);
                statements.push(format!("{others} more changes"));
            }
        }
        all
    }

    fn of_one(&self, amendment: &Amendment, step: Option<&Step>) -> Vec<String> {
        let undone = amendment.undoes.zip(step);
        let restored = undone.map(|(_, step)| step.undone.differences(&step.before));
        let restored = restored.unwrap_or_default();
        let undone = undone.map(|(number, _)| format!("amendment {number} undone"));
        let restores_terms = restored.iter().any(Change::is_about_terms);
        let changes = amendment.changes.iter();
        let changes = changes.filter(|it| !(restores_terms && it.is_about_terms()));
        let changes = restored.iter().chain(changes);
        let changes = changes.flat_map(|change| match step {
            Some(step) if change.is_about_terms() => self.terms(amendment, step),
            _ => self.change(change),
        });
        undone.into_iter().chain(changes).collect()
    }

    fn change(&self, change: &Change) -> Vec<String> {
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
            // `terms` states what is different.
            Change::Terms(_) | Change::TermChanges(_) => return Vec::new(),
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

    /// The terms that are different with an amendment than without it, when it takes effect.
    fn terms(&self, amendment: &Amendment, step: &Step) -> Vec<String> {
        let (before, after) = (&step.before.terms, &step.after.terms);
        let first = self.amendments.first();
        if first.is_none_or(|first| amendment.number <= first.number) {
            return term_words(after);
        }
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
        let before = term_words(before);
        let after = term_words(after).into_iter();
        let changed = after.filter(|it| !before.contains(it));
        changed.chain(reset).chain(unbounded).collect()
    }
}

/// Whether it can only be told from the license before and after it what an amendment does.
#[must_use]
pub fn needs_step(amendment: &Amendment) -> bool {
    amendment.undoes.is_some() || amendment.changes.iter().any(Change::is_about_terms)
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
        let (customers, items) = (CustomerNames::new(), cameras());
        let told = Told::new(&Evaluating::IN_TEST, amendments, &customers, &items);
        told.sentences(&[&amendments[number - 1]]).remove(0)
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
