//! The use cases: what the vendor does with licenses, and what sites ask.

pub mod answer;
pub mod catalogue;
pub mod document;
pub mod issue;
pub mod look_up;
pub mod offline;
pub mod seats;
pub mod status;
