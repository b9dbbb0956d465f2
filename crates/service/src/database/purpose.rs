//! What transactions are for.

/// The purpose of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    /// To read tables of others, which are found with the search path of the site.
    ReadOthers,
    Change,
    /// To check whether changes can be stored.
    Check,
}

impl Purpose {
    pub(super) fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::ReadOthers)
    }
}
