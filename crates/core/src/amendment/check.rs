//! Whether an amendment may be added to a license.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

use super::terms::{MAX_GRACE_HOURS, MAX_LEASE_HOURS, MAX_OFFLINE_DAYS};
use super::timeline::{Bounds, Timeline};
use super::{Amendment, Change, Contents, Origin, Terms, contents};
use crate::entitlement::Period;
use crate::feature::FeatureKey;
use crate::license_state::Decided;
use crate::seat::{MAX_MOVES, MAX_MOVES_PERIOD_DAYS, MAX_SEATS};

/// Maximum number of amendments of a license.
pub const MAX_AMENDMENTS: u32 = 10_000;
/// Maximum number of amendments of a license that are recorded and have not taken effect yet: what a
/// license will consist of is computed for each of them.
pub const MAX_SCHEDULED: usize = 100;
/// Maximum number of changes in all amendments of a license together: each call of its sites may
/// have to apply all of them.
pub const MAX_ALL_CHANGES: usize = 20_000;
/// Maximum number of changes in one amendment.
pub const MAX_CHANGES: usize = 1_000;
/// Maximum number of entitlements that a license has at any time.
pub const MAX_ENTITLEMENTS: usize = 1_000;

/// Why an amendment cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmendmentError {
    /// It does not follow the newest amendment: the license was amended in the meantime.
    #[error(
        "the license was amended in the meantime: its newest amendment is {newest}, but this one \
         was based on amendment {expected}"
    )]
    NotNext {
        /// The number of the newest amendment.
        newest: u32,
        /// The number of the one for which it was made.
        expected: u32,
    },
    /// There are too many.
    #[error("a license can have at most {MAX_AMENDMENTS} amendments")]
    TooMany,
    /// Too many have not taken effect yet.
    #[error(
        "a license can have at most {MAX_SCHEDULED} amendments that have not taken effect yet; \
         combine several changes in one amendment, or wait until one has taken effect"
    )]
    TooManyScheduled,
    /// It changes nothing.
    #[error("the amendment changes nothing")]
    Nothing,
    /// It changes too much.
    #[error("an amendment can have at most {MAX_CHANGES} changes")]
    TooLarge,
    /// All amendments together change too much.
    #[error(
        "the amendments of a license can have at most {MAX_ALL_CHANGES} changes in total; issue a \
         new license"
    )]
    HistoryTooLarge,
    /// It would take effect before the newest amendment was recorded, or before its own record.
    #[error("the amendment would take effect at {at}; the earliest possible time is {earliest}")]
    InThePast {
        /// When it would take effect.
        at: DateTime<Utc>,
        /// The earliest possible instant.
        earliest: DateTime<Utc>,
    },
    /// A time that documents cannot carry.
    #[error("{0} is not a time in whole seconds between the years 1 and 9999")]
    Time(DateTime<Utc>),
    /// It undoes an amendment that does not exist, that is undone already, or the first one.
    #[error("amendment {0} cannot be undone")]
    NotUndoable(u32),
    /// It ends something that is not granted.
    #[error("'{0}' is not granted, so it cannot be ended")]
    NotGranted(String),
    /// An end is before its start.
    #[error("the end {until} is before the start {from}")]
    EndBeforeStart {
        /// The start.
        from: DateTime<Utc>,
        /// The end.
        until: DateTime<Utc>,
    },
    /// The license would end before the amendment takes effect.
    #[error(
        "the license would end at {until}, before the amendment takes effect at {at}; change the \
         end of the license in the same amendment, or suspend or revoke the license"
    )]
    EndsInThePast {
        /// The end.
        until: DateTime<Utc>,
        /// When the amendment takes effect.
        at: DateTime<Utc>,
    },
    /// There would be too many entitlements.
    #[error("a license can have at most {MAX_ENTITLEMENTS} entitlements")]
    TooManyEntitlements,
    /// A term is out of bounds.
    #[error("{name} must be from {from} to {to}")]
    Term {
        /// The name of the term, as in JSON.
        name: &'static str,
        /// The lowest number.
        from: u32,
        /// The highest number.
        to: u32,
    },
    /// The first amendment lacks what every license has.
    #[error(
        "the first amendment must state the terms and the customer, and take effect when it is \
         recorded"
    )]
    Incomplete,
    /// The license was revoked, which is final.
    #[error("the license is revoked")]
    Revoked,
}

/// Checks whether `next` may follow `amendments`, those of a license about which the vendor has
/// `decided`.
///
/// # Errors
/// The first [`AmendmentError`] that applies.
pub fn check(
    amendments: &[Amendment],
    next: &Amendment,
    decided: Decided,
) -> Result<(), AmendmentError> {
    let newest = amendments.iter().max_by_key(|it| it.number);
    let number = newest.map_or(0, |it| it.number);
    if next.number != number + 1 {
        return Err(AmendmentError::NotNext {
            newest: number,
            expected: next.number.saturating_sub(1),
        });
    }
    if decided == Decided::Revoked {
        return Err(AmendmentError::Revoked);
    }
    check_bounds(amendments, next)?;
    let is_scheduled = |it: &&Amendment| next.recorded_at < it.effective_at;
    if is_scheduled(&next) && amendments.iter().filter(is_scheduled).count() >= MAX_SCHEDULED {
        return Err(AmendmentError::TooManyScheduled);
    }
    if next.changes.is_empty() && next.undoes.is_none() {
        return Err(AmendmentError::Nothing);
    }
    let recorded = newest.map(|it| it.recorded_at);
    let earliest = next.recorded_at.max(recorded.unwrap_or(next.recorded_at));
    if next.effective_at < earliest {
        return Err(AmendmentError::InThePast {
            at: next.effective_at,
            earliest,
        });
    }
    time(next.effective_at)?;
    if number == 0 && !is_complete(next) {
        return Err(AmendmentError::Incomplete);
    }
    check_undo(amendments, next)?;
    next.changes.iter().try_for_each(check_change)?;
    check_ends(amendments, next)?;
    check_results(amendments, next)
}

/// Checks how large the history becomes. The end that the first activation sets always fits: without
/// it, the license would not end.
fn check_bounds(amendments: &[Amendment], next: &Amendment) -> Result<(), AmendmentError> {
    let changes = amendments.iter().map(|it| it.changes.len()).sum::<usize>();
    let error = match () {
        () if next.changes.len() > MAX_CHANGES => return Err(AmendmentError::TooLarge),
        () if next.number > MAX_AMENDMENTS => AmendmentError::TooMany,
        () if changes + next.changes.len() > MAX_ALL_CHANGES => AmendmentError::HistoryTooLarge,
        () => return Ok(()),
    };
    let awaits_activation = || contents(amendments, next.effective_at).lasts.is_some();
    match next.changes.as_slice() {
        [Change::Expiry(Some(_))] if next.undoes.is_none() && awaits_activation() => Ok(()),
        _ => Err(error),
    }
}

/// Whether a license has what every license has from its first amendment on.
fn is_complete(first: &Amendment) -> bool {
    let has = |is_it: fn(&Change) -> bool| first.changes.iter().any(is_it);
    first.effective_at == first.recorded_at
        && has(|it| matches!(it, Change::Terms(_)))
        && has(|it| matches!(it, Change::Customer(_)))
}

/// Checks what the license consists of from the amendment on, also after amendments that are
/// recorded already and take effect later.
fn check_results(amendments: &[Amendment], next: &Amendment) -> Result<(), AmendmentError> {
    let at = next.effective_at;
    let before = Timeline::at(amendments.iter(), at).without_grants(0);
    // The license may be activated before the amendment takes effect.
    let from = next.recorded_at.min(at);
    let license = Timeline::from(amendments.iter().chain([next]), from);
    let bounds = license.bounds();
    let first = license.instants.partition_point(|it| *it < at);
    let after = bounds.get(first).and_then(|it| it.period.until);
    if let Some(until) = after.filter(|until| after != before.expires_at && *until < at) {
        return Err(AmendmentError::EndsInThePast { until, at });
    }
    bounds
        .iter()
        .skip(first)
        .try_for_each(|it| check_period(it.period))?;
    if (first..bounds.len()).any(|place| license.count(place) > MAX_ENTITLEMENTS) {
        return Err(AmendmentError::TooManyEntitlements);
    }
    check_activations(&license.instants, &bounds)
}

/// No end may be before its start.
fn check_period(period: Period) -> Result<(), AmendmentError> {
    match period {
        Period {
            from: Some(from),
            until: Some(until),
        } if until < from => Err(AmendmentError::EndBeforeStart { from, until }),
        _ => Ok(()),
    }
}

/// Checks that the first activation can set the end of a license that waits for it, as early as that
/// may be in each of its states: a later one sets a later end. It sets the end wherever no amendment
/// sets it that takes effect later.
fn check_activations(instants: &[DateTime<Utc>], bounds: &[Bounds]) -> Result<(), AmendmentError> {
    for (place, (at, awaiting)) in instants.iter().zip(bounds).enumerate() {
        let Some(until) = awaiting.end_if_activated(*at) else {
            continue;
        };
        let set = bounds.iter().skip(place);
        let set = set.filter(|it| it.end_set_at <= Some(*at));
        let periods = set.map(|it| Period {
            until: Some(until),
            ..it.period
        });
        periods.into_iter().try_for_each(check_period)?;
    }
    Ok(())
}

fn check_undo(amendments: &[Amendment], next: &Amendment) -> Result<(), AmendmentError> {
    let Some(undoes) = next.undoes else {
        return Ok(());
    };
    let is_there = amendments.iter().any(|it| it.number == undoes);
    // One that is undone later may be undone earlier.
    let is_undone = super::is_undone_from(amendments, undoes, next.effective_at);
    match is_there && !is_undone && undoes > 1 {
        true => Ok(()),
        false => Err(AmendmentError::NotUndoable(undoes)),
    }
}

fn check_change(change: &Change) -> Result<(), AmendmentError> {
    match change {
        Change::Grant(entitlement) => {
            let period = entitlement.period;
            [period.from, period.until]
                .into_iter()
                .flatten()
                .try_for_each(time)?;
            match (period.from, period.until) {
                (Some(from), Some(until)) if until < from => {
                    Err(AmendmentError::EndBeforeStart { from, until })
                }
                _ => Ok(()),
            }
        }
        Change::Start(at) | Change::Expiry(at) => at.map_or(Ok(()), time),
        Change::Terms(terms) => check_terms(terms),
        Change::TermChanges(changes) => check_terms(&Terms::default().with(changes)),
        Change::End { .. } | Change::Plan(_) | Change::Customer(_) | Change::Lasts(_) => Ok(()),
    }
}

/// Checks that all terms are within their bounds.
///
/// # Errors
/// [`AmendmentError::Term`] with the name of the first one that is not, or
/// [`AmendmentError::Time`].
pub fn check_terms(terms: &Terms) -> Result<(), AmendmentError> {
    [
        ("seats", Some(terms.seats), 1, MAX_SEATS),
        ("moves", Some(terms.moves), 0, MAX_MOVES),
        (
            "movesPeriodDays",
            Some(terms.moves_period_days),
            1,
            MAX_MOVES_PERIOD_DAYS,
        ),
        ("leaseHours", terms.lease_hours, 1, MAX_LEASE_HOURS),
        ("graceHours", terms.grace_hours, 0, MAX_GRACE_HOURS),
        ("offlineDays", terms.offline_days, 1, MAX_OFFLINE_DAYS),
    ]
    .into_iter()
    .find(|(_, value, from, to)| value.is_some_and(|it| !(*from..=*to).contains(&it)))
    .map_or(Ok(()), |(name, _, from, to)| {
        Err(AmendmentError::Term { name, from, to })
    })?;
    terms.updates_until.map_or(Ok(()), time)
}

/// What is ended must be granted at that instant, after the changes before it.
fn check_ends(amendments: &[Amendment], next: &Amendment) -> Result<(), AmendmentError> {
    let is_end = |change: &Change| matches!(change, Change::End { .. });
    if !next.changes.iter().any(is_end) {
        return Ok(());
    }
    let only_undoes = Amendment {
        changes: Vec::new(),
        ..next.clone()
    };
    let before = amendments.iter().chain([&only_undoes]);
    let mut keys = GrantedKeys::of(Timeline::at(before, next.effective_at).contents(0));
    for (place, change) in next.changes.iter().enumerate() {
        let origin = Origin {
            amendment: next.number,
            change: place,
        };
        if !keys.apply(origin, change) {
            let Change::End { key } = change else {
                continue;
            };
            return Err(AmendmentError::NotGranted(key.as_str().to_owned()));
        }
    }
    Ok(())
}

/// The keys of what is granted, while the changes of the newest amendment are applied.
struct GrantedKeys {
    plan_set_by: Option<Origin>,
    by_origin: BTreeMap<Origin, FeatureKey>,
    by_key: HashMap<FeatureKey, BTreeSet<Origin>>,
}

impl GrantedKeys {
    fn of(contents: Contents) -> Self {
        let mut keys = Self {
            plan_set_by: contents.plan_set_by,
            by_origin: BTreeMap::new(),
            by_key: HashMap::new(),
        };
        for (origin, granted) in contents.granted {
            keys.grant(origin, &granted.key);
        }
        keys
    }

    fn grant(&mut self, origin: Origin, key: &FeatureKey) {
        self.by_origin.insert(origin, key.clone());
        self.by_key.entry(key.clone()).or_default().insert(origin);
    }

    /// Applies a change as [`Contents`] does; false if it ends what is not granted.
    fn apply(&mut self, origin: Origin, change: &Change) -> bool {
        match change {
            Change::Grant(entitlement) => self.grant(origin, &entitlement.key),
            Change::End { key } => {
                let Some(ended) = self.by_key.remove(key) else {
                    return false;
                };
                ended.iter().for_each(|it| drop(self.by_origin.remove(it)));
            }
            Change::Plan(_) => {
                if let Some(former) = self.plan_set_by.replace(origin) {
                    self.replace_plan(former);
                }
            }
            _ => {}
        }
        true
    }

    /// Ends what was granted before a plan in the same amendment.
    fn replace_plan(&mut self, former: Origin) {
        let first = Origin {
            change: 0,
            ..former
        };
        let ended: Vec<Origin> = self
            .by_origin
            .range(first..former)
            .map(|it| *it.0)
            .collect();
        for origin in ended {
            let Some(key) = self.by_origin.remove(&origin) else {
                continue;
            };
            if let Some(granted) = self.by_key.get_mut(&key) {
                granted.remove(&origin);
                if granted.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }
}

fn time(at: DateTime<Utc>) -> Result<(), AmendmentError> {
    let is_fine = (1..=9999).contains(&at.year()) && at.nanosecond() == 0;
    match is_fine {
        true => Ok(()),
        false => Err(AmendmentError::Time(at)),
    }
}
