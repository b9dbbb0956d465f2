//! The use cases, one verb per file.
//!
//! Each asks the License Server or the database, lets `license_core` decide,
//! and changes what is known. The rules themselves are not here.

pub mod activate;
pub mod catch_up;
pub mod deactivate;
pub mod decide;
pub mod due;
pub mod entered_key;
pub mod exchange;
pub mod heartbeat;
pub mod offline;
pub mod redeem;
pub mod release;
pub mod replace;
pub mod start_trial;
pub mod switch;
pub mod usage;
pub mod validate;
