//! The License Client as its callers see it: over HTTP, on real databases,
//! with a clock that the test moves, against the real License Server.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod access;
mod authorize;
mod chain;
mod chromium;
mod clocks;
mod commands;
mod concurrency;
mod console;
mod contract;
mod database;
mod deployment;
mod durability;
mod events;
mod faked_time;
mod faults;
mod forgery;
mod gates;
mod hardware;
mod harness;
mod input;
mod kept_time;
mod listener;
mod middleman;
mod nginx;
mod offline;
mod ofrep;
mod open_routes;
mod openapi;
mod outage;
mod program;
mod raw_http;
mod replicas;
mod rotation;
mod schedule;
mod schema;
mod scripted_cloud;
mod secrets;
mod switches;
mod tampering;
mod upgrade;
mod usage;
mod vendor;
mod verifier;
