//! What a gate does without contact with the License Client.

/// What a gate does when there is no contact with the License Client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithoutContact {
    /// What the License Client has said holds until the end that it has named:
    /// the end of grace, which is signed, or of the license. A License Client
    /// that is restarted, or away for a day, is not noticed; nothing is
    /// stretched. Before the first contact only core features are available.
    #[default]
    KeepUntilEnd,
    /// Licensed features are off when contact has been lost for longer than
    /// the [contact timeout](crate::GateBuilder::contact_timeout), and before the first
    /// contact.
    Deny,
    /// What was available when contact was lost stays available, without an
    /// end; before the first contact everything is. For gateways of which the
    /// vendor prefers that they serve too much rather than too little.
    Allow,
}
