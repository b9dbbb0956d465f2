//! Standard output that nobody reads to its end.

use std::panic;
use std::process::exit;

/// Lets a command end without a word when whoever reads its output has had
/// enough, as `| head` does. Rust's own way is a panic.
pub fn end_quietly_when_it_is_closed() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.starts_with("failed printing to stdout: Broken pipe")) {
            exit(0);
        }
        usual(panic);
    }));
}
