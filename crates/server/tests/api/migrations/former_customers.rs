//! Names of customers from before there were records become records.

use std::time::Duration;

use license_server::store::customers::{self, CustomersSearch};
use license_server::store::licenses::{self, MAX_LISTED, Search, amended};
use license_server::store::page::PageStart;
use license_server::store::{Migrator, Store, amendments};
use license_service::clock::{Clock as _, SystemClock};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend};
use sea_orm_migration::MigratorTrait as _;

use super::connect;
use super::first_amendments::{MIGRATION_TIMEOUT, add_licenses, migrated_licenses};
use crate::database::{Engine, TestDatabase, on_both_engines};

on_both_engines! {
    equal_names_become_one_customer_and_each_license_keeps_its_own;
}

/// Licenses in whose names nothing but case and space differ, one without a name, and one that
/// will belong to another user.
async fn add_names(connection: &DatabaseConnection) {
    let json = match connection.get_database_backend() {
        DbBackend::Postgres => "::json",
        _ => "",
    };
    let license = |number: usize, name: &str| {
        format!(
            "INSERT INTO licenses (id, license_key, customer, customer_folded, tier, features, \
             max_cameras, max_users, max_storage_gb, seats, moves, moves_period_days, status, \
             created_at, updated_at, plan, amendment) \
             SELECT 'name-{number}', 'name-{number}', '{name}', 'x', tier, features, max_cameras, \
             max_users, max_storage_gb, seats, moves, moves_period_days, status, created_at, \
             updated_at, plan, 1 FROM licenses WHERE id = 'id-1'; \
             INSERT INTO amendments (license_id, number, author, recorded_at, effective_at, changes) \
             SELECT 'name-{number}', 1, author, recorded_at, effective_at, \
             '[{{\"customer\": \"{name}\"}}]'{json} FROM amendments WHERE license_id = 'id-1'; "
        )
    };
    let names = [
        "Harbour Ltd",
        " HARBOUR LTD",
        "harbour ltd ",
        "Harbour Ltd",
        " ",
    ];
    let licenses = names.iter().enumerate();
    let mut sql: String = licenses
        .map(|(number, name)| license(number, name))
        .collect();
    sql += &format!(
        "INSERT INTO amendments (license_id, number, author, recorded_at, effective_at, changes) \
         VALUES ('name-0', 2, 'ana', '2026-11-25 12:00:00', '2099-01-01 00:00:00', \
         '[{{\"customer\": \"Museum\"}}]'{json}); \
         UPDATE licenses SET amendment = 2, is_plain = FALSE, \
         changes_at = '2098-12-31 23:59:59.999999' WHERE id = 'name-0'"
    );
    connection.execute_unprepared(&sql).await.unwrap();
}

async fn equal_names_become_one_customer_and_each_license_keeps_its_own(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let connection = connect(&database).await;
    Migrator::up(&connection, Some(14)).await.unwrap();
    let count = migrated_licenses();
    add_licenses(&connection, count).await;
    let migrations = Migrator::migrations();
    let before = migrations
        .iter()
        .position(|it| it.name() == "m0018_customers");
    let before = u32::try_from(before.unwrap()).unwrap();
    Migrator::up(&connection, Some(before - 14)).await.unwrap();
    add_names(&connection).await;
    connection.close().await.unwrap();

    let begun = SystemClock.running();
    let store = Store::open(&database.url.parse().unwrap()).await.unwrap();
    let took: Duration = SystemClock.running() - begun;
    println!("{count} licenses: {took:?}");
    assert!(took < MIGRATION_TIMEOUT, "{took:?}");

    let db = store.reader();
    let all = CustomersSearch::default();
    let total = customers::count(db, &all).await.unwrap();
    assert_eq!(total, count as u64 + 2, "one for each name of the others");
    let harbour = customers::find(db, "Harbour Ltd").await.unwrap().remove(0);
    assert_eq!(harbour.name, "Harbour Ltd", "the most frequent spelling");
    let theirs = licenses::of_customer(db, &harbour.id, None, 9)
        .await
        .unwrap();
    let ids: Vec<_> = theirs.rows.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["name-0", "name-1", "name-2", "name-3"]);
    let unnamed = licenses::find(db, "name-4").await.unwrap().unwrap();
    assert_eq!((&*unnamed.customer, unnamed.customer_id), ("", None));

    // Those with dates are judged again.
    let dated = licenses::find(db, "name-0").await.unwrap().unwrap();
    let plain = licenses::find(db, "name-1").await.unwrap().unwrap();
    let now = SystemClock.now();
    assert_eq!(
        (dated.was_judged_by(now), plain.was_judged_by(now)),
        (false, true)
    );

    // A customer who is renamed keeps the licenses that name it in their amendments.
    let renamed = "UPDATE customers SET name = 'Harbour Limited' WHERE name = 'Harbour Ltd'; \
                   UPDATE licenses SET customer = 'Harbour Limited' WHERE customer = 'Harbour Ltd'";
    database.execute(renamed).await;
    let search = Search::default();
    let rows = licenses::list(db, &search, &PageStart::default(), MAX_LISTED).await;
    for row in rows.unwrap().rows {
        let amendments = amendments::of_license(db, &row.id).await.unwrap();
        let blank = licenses::License {
            customer: String::new(),
            customer_id: None,
            ..row.clone()
        };
        let whole = amended(db, blank, &amendments, row.created_at)
            .await
            .unwrap();
        assert_eq!(
            (&whole.customer, &whole.customer_id),
            (&row.customer, &row.customer_id)
        );
        if row.id == "name-0" {
            let later = amendments[1].effective_at;
            let later = amended(db, row, &amendments, later).await.unwrap();
            assert_eq!(later.customer, "Museum");
        }
    }
    store.close().await;
    database.drop_database().await;
}
