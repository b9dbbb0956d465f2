//! A gate with scripted License Clients, which can also send what a real one never would.
//! The License Client's own tests use real ones.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod contact;
mod decisions;
mod follower;
mod layers;
mod library;
mod log;
mod outsider;
mod paths;
mod proof;
mod scripted_client;
mod settings;
#[path = "../../../core/tests/rules/signer.rs"]
#[expect(
    dead_code,
    reason = "the rules' own tests need more of what a vendor signs"
)]
mod signer;
mod streams;
