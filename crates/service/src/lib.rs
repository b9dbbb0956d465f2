//! The ground that License Client and License Server stand on.
//!
//! Nothing here knows about licenses: it is the clock, the logs, the settings
//! of a database, a listener with its limits, who may come in, and how a process
//! stops.

pub mod admin_token;
mod admission;
pub mod byte_budget;
pub mod client_address;
pub mod clock;
pub mod command_line;
mod connection;
pub mod database;
pub mod database_url;
pub mod dot_env;
pub mod fair_share;
pub mod hosts;
mod lingering_close;
pub mod listener;
pub mod log_limit;
pub mod presentable_url;
pub mod random;
pub mod request_body;
mod response_headers;
pub mod secret_argument;
pub mod sessions;
pub mod shutdown;
pub mod stdout;
pub mod telemetry;
pub mod variables;
