//! The License Server as sites and the vendor's staff see it: over HTTP and
//! by its commands, on real databases.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod administration;
mod commands;
mod copies;
#[expect(dead_code, reason = "the License Client's tests use more of it")]
#[path = "../../../client/tests/api/database.rs"]
mod database;
mod harness;
mod keys;
mod migrations;
mod offline;
mod requests;
mod seats;
mod sites;
