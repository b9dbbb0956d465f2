//! Limits the number of bytes that callers can make the service hold at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that requests in flight share. Callers that are not
/// trusted cannot use the last part of it.
#[derive(Debug)]
pub struct ByteBudget {
    open: usize,
    total: usize,
    used: AtomicUsize,
}

impl ByteBudget {
    /// A budget of `open` bytes for all callers and `reserved` more for trusted
    /// ones.
    #[must_use]
    pub fn new(open: usize, reserved: usize) -> Self {
        Self {
            open,
            total: open.saturating_add(reserved),
            used: AtomicUsize::new(0),
        }
    }

    /// Takes `bytes`, to be returned with [`ByteBudget::give_back`]. Returns false and takes
    /// nothing if the budget does not have enough bytes.
    #[must_use]
    pub fn take(&self, bytes: usize, trusted: bool) -> bool {
        let limit = if trusted { self.total } else { self.open };
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .is_ok()
    }

    /// Returns what was taken.
    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes in use now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserved_part_is_for_trusted_callers() {
        let budget = ByteBudget::new(10, 5);
        assert!(budget.take(10, false));
        assert!(!budget.take(1, false));
        assert!(budget.take(5, true));
        assert!(!budget.take(1, true));
        budget.give_back(10);
        assert!(!budget.take(usize::MAX, true), "a sum that overflows");
        assert!(budget.take(5, false));
        assert_eq!(budget.used(), 10);
    }
}
