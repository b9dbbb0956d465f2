//! State shared by all clones of a gate and the thread that follows the License Client.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::announced::Limit;
use crate::clock::{self, Ticks};
use crate::decision::Decision;
use crate::error::ContactError;
use crate::feature_key::FeatureKey;
use crate::hook::Hook;
use crate::refusal::RefusalHandler;
use crate::table::Table;

/// A follower without a sign of life for 5 s has stopped.
const STALL_TIMEOUT: Ticks = 5_000_000_000;
/// Maximum number of keys that are checked for being unknown.
const MAX_REQUIRED: usize = 10_000;

/// How many gates a thread can use alternately with their tables cached.
const SLOTS: usize = 8;

/// Gives every table of the process a unique number.
static NEXT_TABLE: AtomicU64 = AtomicU64::new(1);
static NEXT_SLOT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The tables that this thread used last, with their numbers. Finding one here takes a
    /// fifth of the time of sharing one among threads. An idle thread keeps its tables.
    static USED: RefCell<[Option<Numbered>; SLOTS]> =
        const { RefCell::new([const { None }; SLOTS]) };
}

type Numbered = (u64, Arc<Table>);

/// The shared state of a gate.
pub(crate) struct Shared {
    table: ArcSwap<Table>,
    /// The number of the table. It is written after the table: a thread that reads the
    /// number finds this table or a newer one.
    number: AtomicU64,
    /// The table that threads copy.
    slot: usize,
    /// The time until which the follower is considered alive.
    fresh_until: AtomicI64,
    pub(crate) options: Options,
    /// Incremented with every table.
    version: watch::Sender<u64>,
    published: (Mutex<()>, Condvar),
    last_error: Mutex<Option<ContactError>>,
    /// The features that the gateway's code requires, and whether a warning was logged.
    required: Mutex<BTreeMap<FeatureKey, bool>>,
    /// The runtime of the follower.
    runtime: Option<Handle>,
}

/// The gateway's settings, except those of the follower.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) hooks: Vec<Arc<dyn Hook>>,
    pub(crate) on_refusal: Option<RefusalHandler>,
}

impl Shared {
    /// Without a `runtime` there is no follower, and none is expected.
    pub(crate) fn new(table: Table, options: Options, runtime: Option<Handle>) -> Self {
        let fresh_until = match runtime {
            Some(_) => clock::ticks().saturating_add(STALL_TIMEOUT),
            None => Ticks::MAX,
        };
        Self {
            table: ArcSwap::from_pointee(table),
            number: AtomicU64::new(NEXT_TABLE.fetch_add(1, Ordering::Relaxed)),
            slot: NEXT_SLOT.fetch_add(1, Ordering::Relaxed) % SLOTS,
            fresh_until: AtomicI64::new(fresh_until),
            options,
            version: watch::Sender::new(0),
            published: (Mutex::new(()), Condvar::new()),
            last_error: Mutex::new(None),
            required: Mutex::default(),
            runtime,
        }
    }

    /// The decision about a feature: no lock, no allocation.
    #[inline]
    pub(crate) fn decide(&self, feature: &str) -> Decision {
        let number = self.number.load(Ordering::Acquire);
        let decision = USED.try_with(|used| {
            let mut used = used.try_borrow_mut().ok()?;
            let slot = used.get_mut(self.slot)?;
            if slot.as_ref().is_none_or(|(used, _)| *used != number) {
                *slot = Some((number, self.table.load_full()));
            }
            slot.as_ref()
                .map(|(_, table)| self.decide_by(table, feature))
        });
        // A thread that is ending can no longer cache a table.
        let decision = decision.ok().flatten();
        decision.unwrap_or_else(|| self.decide_by(&self.table.load(), feature))
    }

    #[inline]
    fn decide_by(&self, table: &Table, feature: &str) -> Decision {
        let fresh_until = self.fresh_until.load(Ordering::Relaxed);
        table.decide(feature, clock::ticks(), fresh_until, || {
            fresh_until.saturating_sub(STALL_TIMEOUT)
        })
    }

    /// Passes a decision to the hooks.
    #[inline]
    pub(crate) fn notify_hooks(&self, feature: Option<&str>, decision: Decision) {
        for hook in &self.options.hooks {
            hook.decided(feature, decision);
        }
    }

    /// The license's limit, held without contact like the decisions.
    pub(crate) fn limit(&self, key: &str) -> Limit {
        let (now, fresh_until) = (clock::ticks(), self.fresh_until.load(Ordering::Relaxed));
        let silent_since = (now > fresh_until).then(|| fresh_until.saturating_sub(STALL_TIMEOUT));
        self.table().limit(key, now, silent_since)
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// The follower is alive.
    pub(crate) fn beat(&self, now: Ticks) {
        let until = now.saturating_add(STALL_TIMEOUT);
        self.fresh_until.store(until, Ordering::Relaxed);
    }

    /// The follower has ended for good.
    pub(crate) fn stop(&self) {
        self.fresh_until.store(0, Ordering::Relaxed);
        self.version.send_modify(|version| *version += 1);
    }

    /// Whether a follower is expected but not alive.
    pub(crate) fn is_stalled(&self) -> bool {
        clock::ticks() > self.fresh_until.load(Ordering::Relaxed)
    }

    /// Whether there is contact with the License Client.
    pub(crate) fn is_in_contact(&self) -> bool {
        self.table().contact().lost_at.is_none() && !self.is_stalled()
    }

    /// Replaces the table, and wakes everyone waiting for a change.
    pub(crate) fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
        let number = NEXT_TABLE.fetch_add(1, Ordering::Relaxed);
        self.number.store(number, Ordering::Release);
        self.version.send_modify(|version| *version += 1);
        drop(lock(&self.published.0));
        self.published.1.notify_all();
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn fail(&self, error: Option<ContactError>) {
        *lock(&self.last_error) = error;
    }

    pub(crate) fn last_error(&self) -> Option<ContactError> {
        match self.is_stalled() {
            true => Some(ContactError::Stopped),
            false => lock(&self.last_error).clone(),
        }
    }

    /// Waits for the first announcement, at most for `timeout`.
    pub(crate) fn wait_until_ready(&self, timeout: Duration) -> bool {
        let is_ready = || self.table().contact().is_known;
        let (guard, published) = (lock(&self.published.0), &self.published.1);
        let waited = published.wait_timeout_while(guard, timeout, |()| !is_ready());
        drop(waited);
        is_ready()
    }

    /// The same on any runtime: the follower's timer is used.
    pub(crate) async fn ready(&self, timeout: Duration) -> bool {
        let is_ready = || self.table().contact().is_known;
        let mut changes = self.changes();
        if is_ready() || self.is_stalled() {
            return is_ready();
        }
        let Some(runtime) = &self.runtime else {
            return is_ready();
        };
        let end = runtime.spawn(async move { tokio::time::sleep(timeout).await });
        let known = std::pin::pin!(changes.wait_for(|_| is_ready()));
        let end = futures_util::future::select(known, end).await;
        if let futures_util::future::Either::Left((_, end)) = end {
            end.abort();
        }
        is_ready()
    }

    /// The gateway's code requires `feature`: logs a warning if it is unknown.
    pub(crate) fn require(&self, feature: &FeatureKey) {
        let mut required = lock(&self.required);
        if required.len() < MAX_REQUIRED {
            required.entry(feature.clone()).or_default();
        }
        self.warn_of_unknown(&mut required);
    }

    /// Logs a warning for each required feature that the License Client does not know.
    pub(crate) fn check_required(&self) {
        self.warn_of_unknown(&mut lock(&self.required));
    }

    fn warn_of_unknown(&self, required: &mut BTreeMap<FeatureKey, bool>) {
        let table = self.table();
        if !table.contact().is_known {
            return;
        }
        let unknown = required.iter_mut();
        for (feature, is_warned) in unknown.filter(|(key, _)| !table.names(key.as_str())) {
            if !std::mem::replace(is_warned, true) {
                tracing::warn!(
                    feature = feature.as_str(),
                    "unknown feature: it is in neither the product nor the license; is its key \
                     misspelled?"
                );
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announced::Announced;
    use crate::decision::Reason;
    use crate::table::{Contact, Step};
    use crate::without_contact::WithoutContact;

    const MINUTE: Ticks = 60_000_000_000;
    const FEATURE: &str = "module.map_view";
    const CORE: &str = "module.live_view";

    /// A gate in contact, whose follower was alive at the start.
    fn in_contact(policy: WithoutContact) -> Shared {
        let features = [
            (FEATURE.into(), Decision::yes(Reason::Licensed)),
            (CORE.into(), Decision::yes(Reason::Core)),
        ];
        let announced = Announced::fixed(features, Decision::no(Reason::NotInLicense));
        let steps = announced.states.iter().map(|state| Step {
            until: Ticks::MAX,
            decisions: state.decisions.clone(),
            limits: state.limits.clone(),
        });
        let contact = Contact {
            is_known: true,
            lost_at: None,
            policy,
            timeout: MINUTE,
        };
        let now = clock::ticks();
        let table = Table::new(announced.rows.clone(), steps.collect(), contact, None, now);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        Shared::new(table, Options::default(), Some(runtime.handle().clone()))
    }

    /// Callers notice a thread that was lost in a fork or has ended.
    #[test]
    fn a_stopped_follower_counts_as_lost_contact() {
        for (policy, reason) in [
            (WithoutContact::KeepUntilEnd, Reason::Licensed),
            (WithoutContact::Deny, Reason::NoContact),
            (WithoutContact::Allow, Reason::Licensed),
        ] {
            let shared = in_contact(policy);
            assert!(shared.is_in_contact());
            assert_eq!(shared.last_error(), None);
            // It was alive a moment ago, a while ago, and longer ago than the timeout.
            for (ago, is_in_contact, expected) in [
                (STALL_TIMEOUT / 2, true, Reason::Licensed),
                (STALL_TIMEOUT * 2, false, Reason::Licensed),
                (2 * MINUTE, false, reason),
            ] {
                shared.beat(clock::ticks() - ago);
                assert_eq!(shared.is_in_contact(), is_in_contact, "{policy:?} {ago}");
                assert_eq!(shared.decide(FEATURE).reason, expected, "{policy:?} {ago}");
                assert_eq!(shared.decide(CORE), Decision::yes(Reason::Core));
                let error = (!is_in_contact).then_some(ContactError::Stopped);
                assert_eq!(shared.last_error(), error);
            }
            // It is alive again.
            shared.beat(clock::ticks());
            assert!(shared.is_in_contact());
            assert_eq!(shared.decide(FEATURE).reason, Reason::Licensed);
        }
    }
}
