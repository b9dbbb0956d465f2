//! Standard output whose reader stops early, or that cannot be written.

use std::panic;
use std::process::exit;

use crate::stderr::say;

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
        say(format_args!(
            "error: standard output cannot be written: {why}"
        ));
        exit(1);
    }));
}
