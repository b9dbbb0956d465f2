#![doc = include_str!("../README.md")]

mod address;
mod builder;
mod clock;
mod decision;
mod follow;
mod gate;
mod known;
mod layer;
mod live;
mod refusal;
mod table;
mod trusted_keys;

pub use builder::{GateBuilder, GateError};
pub use decision::{Decision, Reason};
pub use gate::Gate;
pub use known::WithoutContact;
pub use layer::{GateLayer, Gated};
pub use license_core::feature::FeatureKey;
pub use license_core::route;
pub use license_core::usage::Resource;
pub use table::Limit;
