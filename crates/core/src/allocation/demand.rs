//! How much of a count a seat should get.

/// What is known of the amount that a seat needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The usage that it has reported last; `None` if unknown.
    pub usage: Option<u64>,
    /// What it asks for.
    pub asked: Asked,
    /// What staff have reserved for it; 0 if nothing.
    pub reserved: u64,
}

/// What a site asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It does not know about allocations, like version 1.0.0.
    CannotAsk,
    /// It could ask, but does not.
    Nothing,
    /// It asks for this much.
    Of(u64),
}

/// How much a seat should get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything: it is the only seat of the license.
    Everything,
    /// This much.
    Of(u64),
}

impl Wanted {
    /// The number; the greatest one for everything.
    pub(super) fn amount(self) -> u64 {
        match self {
            Self::Everything => u64::MAX,
            Self::Of(amount) => amount,
        }
    }
}

impl Demand {
    /// How much a seat of a license with `seats` should get. Its newest document carries `held` now,
    /// and `share` is its equal share ([`Pool::share`](super::Pool::share)).
    ///
    /// The greatest of its usage, what it asks for and what is reserved for it. Without a
    /// reservation, a site that cannot ask gets at least the equal share. A site that could ask, but
    /// states nothing at all, keeps what it holds; if it holds nothing, as at its first activation,
    /// it gets the equal share, too. If the usage is unknown, it may be all that the seat holds.
    #[must_use]
    pub fn wanted(&self, seats: u32, held: u64, share: u64) -> Wanted {
        if seats <= 1 {
            return Wanted::Everything;
        }
        let used = self.usage.unwrap_or(held).max(self.reserved);
        Wanted::Of(match self.asked {
            Asked::Of(amount) => amount.max(self.usage.unwrap_or(0)).max(self.reserved),
            _ if self.reserved > 0 => used,
            Asked::CannotAsk => used.max(share),
            Asked::Nothing if self.usage.is_none() && held == 0 => share,
            Asked::Nothing => used,
        })
    }
}
