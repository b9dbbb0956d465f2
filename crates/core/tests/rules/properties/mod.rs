//! The invariants for random histories.

mod history;
mod invariants;
mod texts;

use proptest::test_runner::Config;

fn config() -> Config {
    Config {
        failure_persistence: None,
        ..Config::with_cases(256)
    }
}
