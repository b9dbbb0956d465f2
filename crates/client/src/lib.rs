//! The License Client of Foxsight Central Command.
//!
//! It runs beside the VMS: activates a license key with the vendor's License Server, caches the
//! license, validates it on a schedule, keeps the site working during outages, and decides on every
//! request whether a feature is licensed. The rules are in `license_core`; this crate does the I/O.
//!
//! Imports run one way: `cli → serve → {console, jobs} → http → licensing → app → knowledge →
//! {store, upstream, identity, …} → {license_core, license_service}`.
#![warn(clippy::print_stderr)]

pub mod announced;
pub mod app;
pub mod attached_networks;
pub mod attempts_log;
pub mod certificate_file;
pub mod cli;
pub mod config;
pub mod console;
pub mod doctor;
pub mod entitled;
pub mod failed_request;
pub mod gate_routes;
pub mod host;
pub mod http;
pub mod identity;
mod installation_key;
pub mod jobs;
pub mod knowledge;
pub mod licensing;
pub mod metrics;
pub mod proxy;
pub mod random;
pub mod release_document;
mod running_service;
pub mod scheduler;
pub mod sealed_file;
pub mod secret_file;
pub mod serve;
pub mod server_certificate;
pub mod shared_reading;
pub mod state_file;
pub mod store;
pub mod system_authorities;
pub mod trusted_keys;
mod tunnel;
pub mod unknown_features;
pub mod upstream;
pub mod usage;
