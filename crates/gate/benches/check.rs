//! How long a check takes, and what two threads make of it.
fn main() {}
