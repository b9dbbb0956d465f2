//! The ground that License Client and License Server stand on.
//!
//! Nothing here knows about licenses: it is the clock, the logs, the settings
//! of a database, a listener with its limits, and how a process stops.

pub mod clock;
pub mod database;
pub mod database_url;
pub mod dot_env;
pub mod listener;
pub mod shutdown;
pub mod stdout;
pub mod telemetry;
