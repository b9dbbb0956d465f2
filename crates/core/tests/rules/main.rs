//! The rules, each at its bounds, and their invariants over random histories.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod contacts;
mod documents;
mod gating;
mod interop;
mod properties;
mod schedules;
mod signer;
mod standings;
