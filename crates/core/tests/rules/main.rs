//! The rules of licensing: every document that is refused, every answer that
//! counts or does not, every bound of every standing, and the invariants that
//! hold in any history.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod contacts;
mod documents;
mod gating;
mod hardware;
mod interop;
mod limits;
mod properties;
mod schedules;
mod signer;
mod standings;
