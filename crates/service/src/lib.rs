//! The common basis of License Client and License Server.
//!
//! Nothing here knows about licenses. It contains the clock, logging, database access, a listener
//! with limits, access control, and shutdown.
#![warn(clippy::print_stderr)]

pub mod admin_token;
mod admission;
pub mod byte_budget;
mod byte_shares;
pub mod caller_place;
pub mod client_address;
pub mod clock;
pub mod command_line;
mod connection;
pub mod cross_site;
pub mod current_call;
pub mod cursor;
pub mod dangling_link;
pub mod database;
pub mod database_url;
pub mod direct;
pub mod dot_env;
pub mod durable_file;
pub mod error_text;
pub mod exchange;
pub mod exposition;
pub mod fair_share;
pub mod file_access;
pub mod hosts;
pub mod jobs;
mod libpq_variables;
mod lingering_close;
pub mod listener;
pub mod log_filter;
pub mod log_limit;
pub mod log_writer;
pub mod loopback;
pub mod output_file;
pub mod ownership;
pub mod plain_path;
pub mod presence;
pub mod presentable_url;
pub mod random;
pub mod regular_file;
pub mod request_body;
pub mod request_span;
mod response_headers;
pub mod runtime;
pub mod secret_argument;
pub mod sessions;
pub mod shutdown;
pub mod state_dir;
pub mod stderr;
pub mod stdout;
pub mod supervisor;
pub mod telemetry;
pub mod text_file;
pub mod tls_explanation;
pub mod token_text;
pub mod toml_text;
mod trimmed;
pub mod turns;
pub mod unattended;
mod unexpanded_path;
pub mod variables;
