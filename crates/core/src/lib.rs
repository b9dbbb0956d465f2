//! The licensing rules of Foxsight Central Command.
//!
//! This crate contains all decisions and nothing else: no I/O, no async, no clock, no
//! globals. Time and randomness are arguments, so every rule can be tested at any
//! instant and replayed exactly.
//!
//! Where to start: [`response`] interprets a response from the License Server and produces
//! [`evidence`]; [`standing`] derives one of four standings from the evidence and the time;
//! [`gate`] derives a decision about a feature from the standing; [`schedule`] determines the next
//! call to the License Server, and [`announcement`] what subscribers receive.
//!
//! Invariants, each checked by a property test in `tests/properties.rs`:
//! - core features are always on, except without a license while
//!   [`standing::Policy::allow_unlicensed_core`] is off;
//! - licensed features are always off after the grace period;
//! - repeated failures never extend the grace period;
//! - a site whose validations all succeed is never in grace.

pub mod add_on;
pub mod allocation;
pub mod amendment;
pub mod announcement;
pub mod binding;
pub mod calendar_duration;
pub mod call;
pub mod catalogue;
pub mod customer_id;
pub mod document;
pub mod entitlement;
pub mod evidence;
pub mod feature;
pub mod file_trail;
pub mod fleet;
pub mod folded_text;
pub mod foreign_text;
pub mod gate;
pub mod hardware;
pub mod idempotency;
pub mod installation_key;
mod iso_8601;
pub mod issued_code;
mod key_form;
pub mod key_record;
pub mod keyring;
pub mod lapse;
pub mod last_change;
pub mod lease;
pub mod lease_end;
pub mod license;
pub mod license_key;
pub mod license_state;
pub mod limits;
pub mod line_id;
pub mod offline;
pub mod open_leases;
pub mod pasted_text;
pub mod plan;
pub mod plausible_time;
pub mod proof;
pub mod protocol;
pub mod rate;
pub mod reason_words;
pub mod regressions;
pub mod release;
pub mod release_words;
pub mod remembered;
pub mod replacement;
pub mod response;
pub mod restored;
pub mod rotation;
pub mod route;
pub mod schedule;
pub mod seat;
mod short_hash;
pub mod signing_clock;
pub mod standing;
pub mod stored_time;
pub mod suspicion;
pub mod taking_over;
pub mod text_encoding;
pub mod thumbprint;
pub mod time_guard;
pub mod trial;
pub mod trial_secret;
pub mod unambiguous_json;
pub mod upcoming;
pub mod usage;
pub mod wall_clock;
pub mod whole_number;
