//! Handles standard output whose reader stops early, or that cannot be written.

use std::fmt::Display;
use std::panic;
use std::process::exit;
use std::sync::{Mutex, PoisonError};

use crate::stderr::say;

/// What the command has changed.
static CHANGE: Mutex<Option<&str>> = Mutex::new(None);

/// Notes that the command has changed something, before it prints its result: if the result is
/// lost, standard error says so. `change` says what was done and how to see it, such as "the
/// license was issued; see 'license-server list'".
pub fn note_change(change: &'static str) {
    *CHANGE.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
}

/// Writes an error that ends the command to standard error, and what [`note_change`] has noted.
pub fn say_error(error: impl Display) {
    say(format_args!("error: {error}"));
    if let Some(change) = *CHANGE.lock().unwrap_or_else(PoisonError::into_inner) {
        say(format_args!("note: {change}"));
    }
}

/// Lets a command end silently when the reader of its output stops, as `| head` does, and with an
/// error if the output is full. Rust itself would panic. A service sets its own hook when it
/// starts logging.
pub fn end_quietly_when_it_is_closed() {
    const FAILED: &str = "failed printing to stdout: ";
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let failed = panic.payload_as_str();
        let Some(why) = failed.and_then(|text| text.strip_prefix(FAILED)) else {
            return default(panic);
        };
        if why.starts_with("Broken pipe") {
            exit(0);
        }
        say_error(format_args!("cannot write to standard output: {why}"));
        exit(1);
    }));
}
