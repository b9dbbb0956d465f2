#![doc = include_str!("../README.md")]

mod address;
mod announced;
mod builder;
mod clock;
mod counters;
mod decision;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod feature_key;
mod follower;
mod gate;
mod hook;
mod known;
mod layer;
mod refusal;
mod routes;
mod script;
mod shared;
mod streams;
mod subscription;
mod table;
mod trusted_keys;
mod without_contact;

pub use announced::Limit;
pub use builder::GateBuilder;
/// The body of the response to a refused request.
pub use bytes::Bytes;
pub use counters::Counters;
pub use decision::{Decision, Reason};
pub use error::{ContactError, GateError};
#[cfg(feature = "axum")]
pub use extract::{Feature, Licensed, NotLicensed};
pub use feature_key::FeatureKey;
pub use gate::Gate;
pub use hook::Hook;
/// The types of requests and responses, in the version used by the gate.
pub use http;
pub use layer::{GateLayer, Gated};
pub use license_core::usage::Resource;
pub use refusal::Refusal;
pub use routes::{RouteError, Routes};
pub use script::GateScript;
pub use streams::Changes;
pub use without_contact::WithoutContact;
