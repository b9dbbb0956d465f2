//! The License Client as its callers see it: over HTTP, on real databases,
//! with a clock that the test moves.

mod contract;
mod database;
mod harness;
mod scripted_cloud;
