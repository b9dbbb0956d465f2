//! Provides the time. This is the only file that may read it.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// The future of a clock's wait.
pub type Wait<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where "now" comes from.
pub trait Clock: Send + Sync {
    /// The current instant, in whole microseconds: what a database column holds.
    fn now(&self) -> DateTime<Utc>;

    /// How long the process has been running, for measuring waits: it does not jump when the wall
    /// clock is set, and is real even if a test moves the time.
    fn uptime(&self) -> Duration {
        BEGINNING.elapsed()
    }

    /// How long the process has been running, without suspends.
    fn running(&self) -> Duration;

    /// The same together with the current instant, read at the same moment.
    fn running_and_now(&self) -> (Duration, DateTime<Utc>) {
        (self.running(), self.now())
    }

    /// The machine's boot clock.
    fn machine(&self) -> MachineClocks;

    /// How far the wall clock is ahead of another machine's clock, which has just shown `other`. If
    /// a test moves the time, the other machine's clock is moved as well, and the result is the
    /// amount by which the wall clock was set.
    fn ahead_of(&self, other: DateTime<Utc>) -> TimeDelta {
        self.now() - other
    }

    /// Waits until the clock shows `instant`.
    fn sleep_until(&self, instant: DateTime<Utc>) -> Wait<'_>;

    /// Waits for `duration`, or less if a test moves the time.
    fn sleep(&self, duration: Duration) -> Wait<'_>;

    /// The date of the program, which the current time cannot precede.
    fn floor(&self) -> DateTime<Utc>;
}

/// The machine's boot clock, which cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineClocks {
    /// The time since the machine was started, including suspends (`CLOCK_BOOTTIME`).
    pub since_boot: Duration,
    /// The boot id of the machine's current start; `None` if unknown.
    pub boot_id: Option<String>,
}

#[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Now, as the runtime's timers count, for deadlines of connections: these concern the machine's
/// own network and pass in real time, even if a test moves the time.
pub(crate) fn ticks() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The wall clock in whole seconds since 1970, for the `Date` of responses.
#[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
pub(crate) fn unix_seconds() -> u64 {
    Utc::now().timestamp().try_into().unwrap_or_default()
}

/// The processor time that this thread has used (`CLOCK_THREAD_CPUTIME_ID`).
pub(crate) fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}

/// The machine's wall clock.
#[derive(Debug, Default)]
pub struct SystemClock;

/// Maximum sleep before the wall clock is checked again: it may have been stepped, or the machine
/// suspended.
const MAX_SLEEP: Duration = Duration::from_secs(30);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    fn running(&self) -> Duration {
        BEGINNING.elapsed()
    }

    fn machine(&self) -> MachineClocks {
        MachineClocks {
            since_boot: clock_gettime(ClockId::Boottime)
                .try_into()
                .unwrap_or_default(),
            boot_id: BOOT_ID.clone(),
        }
    }

    fn sleep_until(&self, instant: DateTime<Utc>) -> Wait<'_> {
        Box::pin(async move {
            while let Ok(wait) = (instant - self.now()).to_std()
                && !wait.is_zero()
            {
                tokio::time::sleep(wait.min(MAX_SLEEP)).await;
            }
        })
    }

    fn sleep(&self, duration: Duration) -> Wait<'_> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn floor(&self) -> DateTime<Utc> {
        let seconds = env!("BUILD_DATE").parse().unwrap_or_default();
        DateTime::from_timestamp(seconds, 0).unwrap_or_default()
    }
}

/// The kernel generates it at every boot.
static BOOT_ID: LazyLock<Option<String>> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
});

/// Maximum time for which a manual clock lets callers sleep.
const MOMENT: Duration = Duration::from_millis(10);

/// A clock that stands still until it is moved, for tests.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Shown>);

/// The time that a manual clock shows.
#[derive(Clone, Debug)]
struct Shown {
    wall: DateTime<Utc>,
    running: Duration,
    machine: MachineClocks,
    starts: u32,
    /// The time that other machines' clocks show.
    others: DateTime<Utc>,
}

impl ManualClock {
    /// A clock that shows `now`, on a machine that was started an hour ago.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self(watch::Sender::new(Shown {
            wall: now,
            running: Duration::ZERO,
            machine: MachineClocks {
                since_boot: Duration::from_secs(3600),
                boot_id: Some("start-1".to_owned()),
            },
            starts: 1,
            others: now,
        }))
    }

    /// Advances the time, and wakes sleepers.
    pub fn advance(&self, by: TimeDelta) {
        self.0.send_modify(|shown| {
            let passed = by.to_std().unwrap_or_default();
            shown.wall += by;
            shown.others += by;
            shown.running += passed;
            shown.machine.since_boot += passed;
        });
    }

    /// Sets the wall clock.
    pub fn set_wall(&self, to: DateTime<Utc>) {
        self.0.send_modify(|shown| shown.wall = to);
    }

    /// Switches the machine off, and on again after `off`. The battery keeps the wall clock
    /// running.
    pub fn restart_machine(&self, off: TimeDelta) {
        self.0.send_modify(|shown| {
            shown.starts += 1;
            shown.wall += off;
            shown.others += off;
            shown.machine.since_boot = Duration::from_secs(60);
            shown.machine.boot_id = Some(format!("start-{}", shown.starts));
        });
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.borrow().wall
    }

    fn running(&self) -> Duration {
        self.0.borrow().running
    }

    fn running_and_now(&self) -> (Duration, DateTime<Utc>) {
        let shown = self.0.borrow();
        (shown.running, shown.wall)
    }

    fn machine(&self) -> MachineClocks {
        self.0.borrow().machine.clone()
    }

    fn ahead_of(&self, _: DateTime<Utc>) -> TimeDelta {
        let shown = self.0.borrow();
        shown.wall - shown.others
    }

    fn sleep_until(&self, instant: DateTime<Utc>) -> Wait<'_> {
        let mut shown = self.0.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, so waiting cannot fail.
            let _ = shown.wait_for(|shown| shown.wall >= instant).await;
        })
    }

    /// Briefly: sleepers check whether the clock was moved.
    fn sleep(&self, duration: Duration) -> Wait<'_> {
        Box::pin(tokio::time::sleep(duration.min(MOMENT)))
    }

    fn floor(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }
}
