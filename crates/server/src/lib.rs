//! The vendor's License Server: issues, signs, activates, validates, suspends
//! and revokes licenses, and receives heartbeats.
//!
//! Imports run one way: `cli → serve → console → http → licensing → app →
//! {store, signing} → {license_core, license_service}`.
#![warn(clippy::print_stderr)]

pub mod app;
pub mod audit;
pub mod call_queues;
pub mod cli;
pub mod commit_proofs;
pub mod config;
pub mod console;
mod evaluation_queues;
pub mod http;
pub mod keyed_call;
pub mod licensing;
pub mod metrics;
pub mod numbering;
pub mod open;
pub mod rates;
pub mod serve;
pub mod shared_results;
pub mod signing;
pub mod spreadsheet;
pub mod store;
pub mod traffic;
