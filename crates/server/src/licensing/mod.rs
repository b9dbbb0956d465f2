//! The use cases: what the vendor does with licenses, and what sites ask.

pub mod admit;
pub mod answer;
pub mod catalogue;
pub mod claim;
pub mod clock;
pub mod document;
pub mod fleet;
pub mod history;
pub mod issue;
pub mod judge;
pub mod key_record;
pub mod keys;
pub mod keys_error;
pub mod look_up;
pub mod offline;
pub mod renew;
pub mod restored;
pub mod seats;
pub mod status;
