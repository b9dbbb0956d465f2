//! Standard output that nobody reads to its end, or that cannot be written.

use std::panic;
use std::process::exit;

use crate::stderr::say;

/// Lets a command end without a word when whoever reads its output has had
/// enough, as `| head` does, and with an error where the output is full. Rust's own
/// way is a panic. A service sets a hook of its own once it logs.
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
