//! Shared parts of the consoles of License Client and License Server: page layout, response
//! headers, plots and wording.
//!
//! `templates/` is part of the templates of both programs (`askama.toml`): the
//! skeleton of every page, and the display names of all codes.

extern crate self as license_console;

pub mod assets;
pub mod escaped;
pub mod gauge;
pub mod id;
pub mod moment;
pub mod number;
pub mod page;
pub mod plot;
pub mod refusal;
pub mod reopening;
