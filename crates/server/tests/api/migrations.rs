//! Every version of the tables, with data in it, becomes the newest one and
//! keeps its data.

use chrono::TimeDelta;
use license_server::licensing::look_up::look_up;
use license_server::store::{Migrator, Store, audit_log, calls, seats, suspicions, usage_days};
use license_service::database_url::DatabaseUrl;
use sea_orm::{ConnectionTrait as _, Database};
use sea_orm_migration::MigratorTrait as _;

use crate::database::{Engine, TestDatabase, on_both_engines};

/// Sample rows of each migration, in order.
const SAMPLES: [&str; 3] = [
    include_str!("../migrations/m0001_licenses_and_seats.sql"),
    include_str!("../migrations/m0002_suspicions.sql"),
    include_str!("../migrations/m0003_audit_and_history.sql"),
];

on_both_engines! {
    sample_data_of_every_version_survives_all_later_migrations;
    two_processes_that_start_together_make_the_tables_once;
}

async fn sample_data_of_every_version_survives_all_later_migrations(engine: Engine) {
    assert_eq!(Migrator::migrations().len(), SAMPLES.len());
    let database = TestDatabase::new(engine).await;
    let url = if engine == Engine::Sqlite {
        format!("{}?mode=rwc", database.url)
    } else {
        database.url.clone()
    };
    let connection = Database::connect(&url).await.unwrap();
    for sample in SAMPLES {
        Migrator::up(&connection, Some(1)).await.unwrap();
        connection.execute_unprepared(sample).await.unwrap();
    }
    connection.close().await.unwrap();

    let store = Store::open(&database.url.parse().unwrap()).await.unwrap();
    let license = look_up(&store, "FXSGHT-2222-2222-2222-2222").await.unwrap();
    assert_eq!(license.customer, "Harbour Ltd");
    assert_eq!(license.features, ["module.map_view"]);
    assert_eq!(
        license.expires_at.unwrap().to_rfc3339(),
        "2030-12-31T23:59:59+00:00"
    );
    let seats = seats::list(store.reader(), &license.id).await.unwrap();
    assert_eq!(seats.len(), 2);
    assert!(!seats[0].is_held() && seats[1].is_held());
    assert_eq!(seats[1].last_seq, 1_795_521_600_000);
    let trail = seats[1].trail();
    assert_eq!(trail.answered, 1_795_521_600_000);
    assert_eq!(
        (trail.behind_at, trail.behind),
        (Some(1_795_521_500_000), 1)
    );
    let suspected = suspicions::list(store.reader(), Some(&license.id), 9).await;
    assert_eq!(suspected.unwrap()[0].times, 3);
    let signed = seats[1].signed.unwrap();
    assert_eq!(signed.exp - signed.valid_until, TimeDelta::hours(72));
    let log = audit_log::oldest(store.reader(), &audit_log::Filter::default(), 9).await;
    let log = log.unwrap();
    assert_eq!(
        (log.len(), log[0].action.as_str(), log[0].number),
        (1, "issued", 1)
    );
    let from = "2026-11-25T00:00:00Z".parse().unwrap();
    let counted = calls::since(store.reader(), from).await.unwrap();
    assert_eq!((counted.len(), counted[0].times), (1, 7));
    let day = "2026-11-25".parse().unwrap();
    let used = usage_days::since(store.reader(), &license.id, day).await;
    assert_eq!(used.unwrap()[0].storage_gb, 500);
    store.close().await;
    database.drop_database().await;
}

async fn two_processes_that_start_together_make_the_tables_once(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let url: DatabaseUrl = database.url.parse().unwrap();
    let opening = (0..8).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { Store::open(&url).await })
    });
    for store in opening.collect::<Vec<_>>() {
        let store = store.await.unwrap().unwrap();
        store.ping().await.unwrap();
        store.close().await;
    }
    database.drop_database().await;
}
