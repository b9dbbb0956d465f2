//! A key directory with an empty database: the licenses are missing, unless this is the first start.

use license_server::app::App;
use license_server::licensing::restored;
use license_server::signing::SigningKeys;
use license_server::store::Store;
use license_service::clock::Clock as _;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{Vendor, storage};

on_both_engines! {
    keys_with_an_empty_database_are_refused;
    no_first_start_is_mistaken_for_a_lost_database;
}

async fn keys_with_an_empty_database_are_refused(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let other = TestDatabase::new(engine).await;
    let mut storage = storage(&other, &vendor.keys_dir());
    storage.keys_dir = Some(vendor.keys_dir());
    let open = || App::open(&storage, vendor.app.terms.clone(), vendor.clock.clone());
    // The refusal itself records nothing that would admit the next start.
    for _ in 0..2 {
        let refused = open().await.err().unwrap().to_string();
        assert!(refused.contains("the database is empty"), "{refused}");
        assert!(refused.contains("keys accept"), "{refused}");
    }
    // A license or an entry in the audit log shows that it is not empty.
    let entry = "INSERT INTO audit_log (at, actor, action, subject, details) \
                 VALUES ('2026-11-24 12:00:00', 'command line', 'key_made', 'x', '{}')";
    other.execute(entry).await;
    open().await.unwrap().store.close().await;
    other.drop_database().await;
    vendor.end().await;
}

async fn no_first_start_is_mistaken_for_a_lost_database(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (terms, clock) = (vendor.app.terms.clone(), vendor.clock.clone());
    // Two servers start together.
    for _ in 0..4 {
        let database = TestDatabase::new(engine).await;
        let directory = tempfile::tempdir().unwrap();
        let storage = storage(&database, directory.path());
        let open = || App::open(&storage, terms.clone(), clock.clone());
        let (first, second) = tokio::join!(open(), open());
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.keys().version(), second.keys().version());
        first.store.close().await;
        second.store.close().await;
        // Nothing has been sold yet.
        open().await.unwrap().store.close().await;
        database.drop_database().await;
    }
    // The first start was interrupted after it had written the key.
    let database = TestDatabase::new(engine).await;
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(&database, directory.path());
    let store = Store::open(&storage.database()).await.unwrap();
    restored::begin(&store, clock.now()).await.unwrap();
    store.close().await;
    SigningKeys::create(&storage.keys(), clock.now()).unwrap();
    let opened = App::open(&storage, terms, clock).await.unwrap();
    opened.store.close().await;
    database.drop_database().await;
    vendor.end().await;
}
