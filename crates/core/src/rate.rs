//! Rate limits: the generic cell rate algorithm (ITU-T I.371).
//!
//! Only one instant is stored per caller: when its allowance is full again. After that
//! instant, the caller is treated like one that never called.

use std::time::Duration;

/// A burst of calls, and the interval after which another call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls that are allowed immediately after a pause; at least 1.
    pub burst: u32,
    /// The interval after which one more call is allowed.
    pub interval: Duration,
}

/// The limit for a machine with a seat. A healthy one calls six times a day, and at most
/// once a minute while it cannot validate.
pub const SEAT_RATE: Rate = Rate {
    burst: 20,
    interval: Duration::from_secs(30),
};

/// The limit for failures of an address: keys that do not exist, and denied
/// activations.
pub const FAILURE_RATE: Rate = Rate {
    burst: 30,
    interval: Duration::from_secs(10),
};

/// The same for all addresses of a /56 of IPv6 together: the holder of one has 256
/// networks that count separately.
pub const FAILURE_RATE_OF_56: Rate = Rate {
    burst: 60,
    interval: Duration::from_secs(5),
};

/// The same for all addresses of a /48 of IPv6 together, the largest network that a
/// provider gives one customer.
pub const FAILURE_RATE_OF_48: Rate = Rate {
    burst: 120,
    interval: Duration::from_millis(2500),
};

/// The same for all addresses of a /24 of IPv4 together. Its addresses may belong to as
/// many customers, each of which may stand for many.
pub const FAILURE_RATE_OF_24: Rate = Rate {
    burst: 600,
    interval: Duration::from_millis(500),
};

/// The limit for trials that one address starts with one code: enough for a company that tries the
/// product out at several sites, and too little to use up a code that others have, too.
pub const TRIAL_RATE: Rate = Rate {
    burst: 5,
    interval: Duration::from_secs(60 * 60),
};

/// The same for all addresses of a /24 of IPv4 or a /56 of IPv6 together.
pub const TRIAL_RATE_OF_NETWORK: Rate = Rate {
    burst: 15,
    interval: Duration::from_secs(20 * 60),
};

/// The limit for sessions that are begun with one token of the License Server: far more than people
/// begin, and less than would delay others.
pub const SIGN_IN_RATE: Rate = Rate {
    burst: 10,
    interval: Duration::from_secs(1),
};

/// The limit for calls from a machine without a seat, except activations. A machine whose
/// seat was freed keeps calling like a healthy one.
pub const SEATLESS_RATE: Rate = SEAT_RATE;

/// The limit for calls about one license by all machines without a seat together, except
/// activations: enough for 900 machines that call every 15 minutes.
#[must_use]
pub fn all_seatless_rate(seats: u32) -> Rate {
    Rate {
        burst: seats.saturating_add(200),
        interval: Duration::from_secs(1),
    }
}

/// The limit for activations of one license by all machines without a seat together:
/// enough to activate all seats in one go.
#[must_use]
pub fn newcomer_rate(seats: u32) -> Rate {
    Rate {
        burst: seats.saturating_add(20),
        interval: Duration::from_secs(60),
    }
}

/// Maximum number of audit log entries of sites per day, for a license with this many
/// seats: each machine may be set up once a day, and some very often. Moves, which the
/// transfer budget limits, are not included.
#[must_use]
pub fn max_site_entries(seats: u32) -> u64 {
    100 + 2 * u64::from(seats)
}

impl Rate {
    /// Takes one call from the allowance of a caller that is full again at `full_at`; returns
    /// when it is full again after this call. All times are durations since a common
    /// instant.
    ///
    /// # Errors
    /// How long to wait if no call is left. The allowance is then unchanged.
    pub fn take(self, full_at: Duration, now: Duration) -> Result<Duration, Duration> {
        let next = full_at.max(now).saturating_add(self.interval);
        let span = self.interval.saturating_mul(self.burst.max(1));
        let wait = next.saturating_sub(now.saturating_add(span));
        if wait.is_zero() { Ok(next) } else { Err(wait) }
    }
}
