//! The licensing rules of Foxsight Central Command.
//!
//! Everything that decides is here, and nothing else is: no I/O, no async, no
//! clock, no globals. Time and randomness are arguments, so every rule can be
//! tested at any instant and replayed exactly.
//!
//! Where to start: an answer from the License Server is read by [`contact`],
//! which leaves [`evidence`] behind; [`standing`] turns the evidence and the
//! time into one of four words; [`gate`] turns that word into a decision about
//! one feature; [`schedule`] says when to ask the License Server again, and
//! [`announcement`] what others are told.
//!
//! Invariants, each held by a property test in `tests/properties.rs`:
//! - a core feature is never off, except without any license while
//!   [`standing::Policy::allow_unlicensed_core`] is off;
//! - a licensed feature is never on after the end of grace;
//! - grace never grows by failing more often;
//! - a site whose validations all succeed is never in grace.

pub mod announcement;
pub mod call;
pub mod contact;
pub mod document;
pub mod evidence;
pub mod feature;
pub mod fleet;
pub mod foreign_text;
pub mod gate;
pub mod hardware;
mod iso_8601;
pub mod key_record;
pub mod keyring;
pub mod lease;
pub mod license;
pub mod license_key;
pub mod license_state;
pub mod limits;
pub mod offline;
pub mod pasted_text;
pub mod protocol;
pub mod rate;
pub mod restored;
pub mod rotation;
pub mod route;
pub mod schedule;
pub mod seat;
pub mod signing_clock;
pub mod standing;
pub mod suspicion;
pub mod text_encoding;
pub mod time_guard;
mod unambiguous_json;
pub mod usage;
pub mod wall_clock;
