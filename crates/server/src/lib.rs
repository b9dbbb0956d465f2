//! The vendor's License Server: issues, signs, activates, validates, suspends
//! and revokes licenses, and receives heartbeats.
//!
//! Imports run one way: `cli → serve → http → licensing → app →
//! {store, signing, clock} → license_core`.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod database_url;
pub mod http;
pub mod licensing;
pub mod serve;
pub mod signing;
pub mod store;
pub mod telemetry;
