//! The License Client as its callers see it: over HTTP, on real databases,
//! with a clock that the test moves, against the real License Server.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use license_client::cli::Cli;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_license-client");

mod access;
mod authorize;
mod chain;
mod chromium;
mod clocks;
mod commands;
mod concurrency;
mod console;
mod consoles_behind_tls;
mod contact_plot;
mod contract;
mod database;
mod database_edits;
mod database_gate;
mod deployment;
mod durability;
mod events;
mod ext_authz;
mod failover;
mod faked_time;
mod faults;
mod foreign_texts;
mod forgery;
mod gates;
mod hand_carried;
mod hardware;
mod harness;
mod head;
mod ids;
mod input;
mod jobs;
mod kept_time;
mod listener;
mod log_growth;
mod middleman;
mod nginx;
mod odd_urls;
mod offline;
mod ofrep;
mod open_routes;
mod openapi;
mod other_users;
mod outage;
mod own_certificates;
mod own_settings;
mod pgbouncer;
mod program;
mod proxies;
mod raw_http;
mod read_settings;
mod refused_calls;
mod replicas;
mod restored;
mod rotation;
mod schedule;
mod schema;
mod scrapers;
mod scripted_cloud;
mod secret_arguments;
mod secrets;
mod switches;
mod tampering;
mod unknown_features;
mod unread_log;
mod upgrade;
mod usage;
mod vendor;
mod verifier;
mod wall_jumps;
mod wrong_addresses;
