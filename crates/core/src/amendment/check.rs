//! Whether an amendment may be added to a license.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

use super::terms::{MAX_GRACE_HOURS, MAX_LEASE_HOURS, MAX_OFFLINE_DAYS};
use super::{Amendment, Change, Origin, Terms, contents};
use crate::license_state::Decided;
use crate::seat::{MAX_MOVES, MAX_MOVES_PERIOD_DAYS, MAX_SEATS};

/// Maximum number of amendments of a license.
pub const MAX_AMENDMENTS: u32 = 10_000;
/// Maximum number of amendments of a license that are recorded and have not taken effect yet: what a
/// license will consist of is computed for each of them.
pub const MAX_SCHEDULED: usize = 100;
/// Maximum number of changes in one amendment.
pub const MAX_CHANGES: usize = 1_000;
/// Maximum number of entitlements that a license has at any time.
pub const MAX_ENTITLEMENTS: usize = 1_000;

/// Why an amendment cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmendmentError {
    /// It does not follow the newest amendment: the license was amended in the meantime.
    #[error("the license has {newest} amendments; this one was made for {expected}")]
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
    if number >= MAX_AMENDMENTS {
        return Err(AmendmentError::TooMany);
    }
    let is_scheduled = |it: &&Amendment| next.recorded_at < it.effective_at;
    if is_scheduled(&next) && amendments.iter().filter(is_scheduled).count() >= MAX_SCHEDULED {
        return Err(AmendmentError::TooManyScheduled);
    }
    if next.changes.is_empty() && next.undoes.is_none() {
        return Err(AmendmentError::Nothing);
    }
    if next.changes.len() > MAX_CHANGES {
        return Err(AmendmentError::TooLarge);
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
    let all: Vec<Amendment> = amendments.iter().chain([next]).cloned().collect();
    let instants = all.iter().map(|it| it.effective_at);
    let instants: BTreeSet<_> = instants.filter(|at| next.effective_at <= *at).collect();
    instants.into_iter().try_for_each(|at| {
        let after = contents(&all, at);
        if let (Some(from), Some(until)) = (after.starts_at, after.expires_at)
            && until < from
        {
            return Err(AmendmentError::EndBeforeStart { from, until });
        }
        match after.granted.len() > MAX_ENTITLEMENTS {
            true => Err(AmendmentError::TooManyEntitlements),
            false => Ok(()),
        }
    })
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
    let only_undoes = Amendment {
        changes: Vec::new(),
        ..next.clone()
    };
    let before: Vec<Amendment> = amendments.iter().cloned().chain([only_undoes]).collect();
    let mut contents = contents(&before, next.effective_at);
    for (place, change) in next.changes.iter().enumerate() {
        if let Change::End { key } = change
            && !contents.granted.values().any(|it| it.key == *key)
        {
            return Err(AmendmentError::NotGranted(key.as_str().to_owned()));
        }
        let origin = Origin {
            amendment: next.number,
            change: place,
        };
        contents.apply(origin, change);
    }
    Ok(())
}

fn time(at: DateTime<Utc>) -> Result<(), AmendmentError> {
    let is_fine = (1..=9999).contains(&at.year()) && at.nanosecond() == 0;
    match is_fine {
        true => Ok(()),
        false => Err(AmendmentError::Time(at)),
    }
}
