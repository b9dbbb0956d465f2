//! What a gate does without contact with the License Client.

/// What a gate does while there is no contact with the License Client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithoutContact {
    /// The last announcement applies until the end that it names: the end of the grace
    /// period, which is signed, or of the license. Users do not notice a License Client that
    /// restarts or is unavailable for a day, and no deadline is extended. Before the first
    /// contact only core features are available.
    #[default]
    KeepUntilEnd,
    /// Licensed features are off after contact has been lost for longer than the
    /// [contact timeout](crate::GateBuilder::contact_timeout), and before the first contact.
    Deny,
    /// Features that are available when contact is lost stay available indefinitely; before
    /// the first contact all features are. For vendors who prefer to serve too much rather
    /// than too little.
    Allow,
}
