//! The License Server as sites and the vendor's staff see it: over HTTP and
//! by its commands, on real databases.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use license_server::cli::Cli;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_license-server");

mod access;
mod add_ons;
mod administration;
mod amendments;
#[path = "../../../client/tests/api/both_loopbacks.rs"]
mod both_loopbacks;
mod bulk;
mod busy_database;
#[path = "../../../client/tests/api/chromium.rs"]
mod chromium;
mod command_errors;
mod command_line;
mod commands;
mod console;
mod copies;
mod customers;
mod damaged_file;
#[path = "../../../client/tests/api/database.rs"]
mod database;
#[path = "../../../client/tests/api/database_gate.rs"]
mod database_gate;
mod empty_database;
mod exports;
mod failing_database;
mod first_activation;
mod foreign_directories;
mod full_disk;
/// What tests of both services have in common.
#[path = "../../../client/tests/api/gates"]
mod gates {
    pub mod process;
    #[expect(dead_code, reason = "the License Client's tests use more of it")]
    pub mod shipped;
}
mod harness;
mod hidden_tables;
mod history;
mod idempotency;
mod installation_keys;
mod interrupted_calls;
mod key_directory;
mod key_owner;
mod keys;
mod killed;
#[path = "../../../client/tests/api/latin_1.rs"]
mod latin_1;
mod libpq_variables;
mod license_size;
mod license_statuses;
mod list_bytes;
mod list_commands;
mod list_pages;
mod listener;
mod lists;
mod log_growth;
mod lost_commits;
mod lost_output;
mod migrations;
mod offers;
mod offline;
mod openapi;
mod outage;
mod pages;
#[path = "../../../client/tests/api/pgbouncer.rs"]
mod pgbouncer;
mod plans;
mod planted_tables;
mod rates;
#[path = "../../../client/tests/api/raw_http/mod.rs"]
mod raw_http;
#[path = "../../../client/tests/api/read_settings.rs"]
mod read_settings;
#[path = "../../../client/tests/api/refused_calls.rs"]
mod refused_calls;
mod releases;
#[path = "../../../client/tests/api/repetition.rs"]
mod repetition;
mod requests;
mod restored;
mod search_path;
mod seats;
mod secrets;
mod sign_in;
mod signed_in;
mod signing_clock;
mod site_entries;
mod sites;
mod skipped_changes;
mod state_dir;
mod streams;
#[path = "../../../client/tests/api/supervised.rs"]
mod supervised;
#[path = "../../../client/tests/api/thread_limit.rs"]
mod thread_limit;
mod tokens;
mod told;
#[path = "../../../client/tests/api/traps.rs"]
mod traps;
mod trials;
mod unfit_tables;
mod unknown_usage;
#[path = "../../../client/tests/api/unread_log.rs"]
mod unread_log;
mod use_cases;
