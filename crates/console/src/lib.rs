//! What the consoles of License Client and License Server have in common: how
//! pages look, what they are sent with, plots, and words.
//!
//! `templates/` is part of both programs' templates (`askama.toml`): the
//! skeleton of every page, and the words for everything that programs have a
//! code for.

extern crate self as license_console;

pub mod assets;
pub mod gauge;
pub mod id;
pub mod moment;
pub mod number;
pub mod page;
pub mod plot;
pub mod refusal;
