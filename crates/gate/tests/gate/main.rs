//! A gate before License Clients that say what the test wants, also what a
//! good one never would. Real ones are met in the License Client's own tests.
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
