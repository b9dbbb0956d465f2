//! Tests of the rules: every rejected document, every answer that does or does not count,
//! both sides of every bound of every standing, and the invariants for any
//! history.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod add_ons;
mod amendments;
mod announcements;
mod bindings;
mod calls;
mod clocks;
mod conformance;
mod contacts;
mod documents;
mod entitlements;
mod exhaustive;
mod file_trails;
mod fleet;
mod foreign_texts;
mod gating;
mod hardware;
mod interop;
mod iso_spellings;
mod license_states;
mod limits;
mod naive_paths;
mod offline_files;
mod plans;
mod proofs;
mod properties;
mod rates;
mod releases;
mod request_urls;
mod restored;
mod rotations;
mod routes;
mod schedules;
mod seats;
mod sent_usage;
mod signer;
mod signing_clocks;
mod simulator;
mod standings;
mod suspicions;
mod taking_over;
mod trials;
mod upcoming;
mod wall_clocks;
