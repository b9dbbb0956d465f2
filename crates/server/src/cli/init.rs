//! `license-server init`

use std::sync::Arc;

use chrono::{DateTime, Utc};
use license_console::escaped::{self, escaped};
use license_service::clock::SystemClock;
use license_service::stdout::note_change;
use serde_json::json;

use crate::audit::{Actor, Change};
use crate::config::Storage;
use crate::licensing::{clock, key_record};
use crate::open::{create_store, make_missing_key};
use crate::signing::{SigningError, SigningKeys};

/// Creates the database and the first signing key if they are missing.
pub(super) async fn run(storage: &Storage, json: bool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let store = create_store(storage).await?;
    note_change("the database exists; repeat the command to check the signing keys");
    let directory = storage.keys();
    if let Err(SigningError::None(_)) = SigningKeys::load(&directory) {
        let clock = clock::open(&store, Arc::new(SystemClock)).await?;
        let by = Actor::CommandLine;
        let change = Change { by, at: now };
        make_missing_key(&store, storage, &clock, &change).await?;
    }
    let loaded = key_record::load(&store, &directory).await;
    store.close().await;
    loaded?;
    let (database, keys) = (
        storage.database().to_string(),
        directory.display().to_string(),
    );
    if json {
        println!(
            "{}",
            escaped::json(&json!({"database": database, "keys": keys}))?
        );
    } else {
        println!("Database: {}", escaped(&database));
        println!("Signing keys: {}", escaped(&keys));
        println!("Export the public keys for clients with 'license-server keys export'.");
    }
    Ok(())
}
