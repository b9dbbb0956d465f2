//! How often a caller may call: the generic cell rate algorithm (ITU-T I.371).
//!
//! All that has to be kept about a caller is one instant: when its allowance is
//! full again. A caller whose instant has passed is like one that never called.

use std::time::Duration;

/// A number of calls in a row, and how long until one of them is allowed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls that are allowed immediately after a pause; at least one is.
    pub burst: u32,
    /// Time after which one more call is allowed.
    pub interval: Duration,
}

/// What the machine that holds a seat may ask. A healthy one calls six times a
/// day, and at most once a minute while it cannot validate.
pub const SEAT_RATE: Rate = Rate {
    burst: 20,
    interval: Duration::from_secs(30),
};

/// What an address may get wrong: keys that do not exist, and activations that
/// are refused.
pub const FAILURE_RATE: Rate = Rate {
    burst: 30,
    interval: Duration::from_secs(10),
};

/// The same for all addresses of a /56 of IPv6 together: the holder of one has 256
/// networks that count apart.
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

/// What a machine without a seat may ask besides activating. One whose seat was freed
/// goes on asking like a healthy one.
pub const SEATLESS_RATE: Rate = SEAT_RATE;

/// How often all machines without a seat together may ask about one license besides
/// activating: enough for 900 that ask every 15 minutes.
#[must_use]
pub fn all_seatless_rate(seats: u32) -> Rate {
    Rate {
        burst: seats.saturating_add(200),
        interval: Duration::from_secs(1),
    }
}

/// How often all machines without a seat together may activate one license: enough
/// to activate every seat that was sold in one go.
#[must_use]
pub fn newcomer_rate(seats: u32) -> Rate {
    Rate {
        burst: seats.saturating_add(20),
        interval: Duration::from_secs(60),
    }
}

/// Maximum number of entries of sites in the audit log on a day, for a license with so
/// many seats: each machine may be set up once a day, and some very often. Moves, which
/// the transfer budget bounds, come on top.
#[must_use]
pub fn max_site_entries(seats: u32) -> u64 {
    100 + 2 * u64::from(seats)
}

impl Rate {
    /// Takes one call from the allowance of a caller that is full again at
    /// `full_at`; answers when it is full again after this call. All times are
    /// durations since one common instant.
    ///
    /// # Errors
    /// How long to wait, where no call is left. Nothing is taken then.
    pub fn take(self, full_at: Duration, now: Duration) -> Result<Duration, Duration> {
        let next = full_at.max(now).saturating_add(self.interval);
        let span = self.interval.saturating_mul(self.burst.max(1));
        let wait = next.saturating_sub(now.saturating_add(span));
        if wait.is_zero() { Ok(next) } else { Err(wait) }
    }
}
