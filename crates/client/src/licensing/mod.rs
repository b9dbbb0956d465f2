//! The use cases, one verb a file.
//!
//! Each asks the License Server or the database, lets `license_core` decide,
//! and records what follows. The rules themselves are not here.

pub mod activate;
pub mod catch_up;
pub mod deactivate;
pub mod decide;
pub mod due;
pub mod exchange;
pub mod hardware;
pub mod heartbeat;
pub mod keep;
pub mod keep_time;
pub mod key_sets;
pub mod offline;
pub mod readiness;
pub mod record;
pub mod refresh;
pub mod requests;
pub mod resume;
pub mod rows;
pub mod switch;
pub mod usage;
pub mod validate;
