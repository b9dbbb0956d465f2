//! Tables of a License Server in a schema that its database user has no access to.

use license_server::store::Store;

use crate::database::{Engine, TestDatabase};
use crate::harness::Vendor;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_service_nor_a_command_takes_them_for_missing() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let name = vendor.database.url.rsplit('/').next().unwrap().to_owned();
    let role = format!("hidden_{name}");
    let url = vendor
        .database
        .url
        .replace("postgres@", &format!("{role}@"));
    let url = url.parse().unwrap();
    let rights = "SELECT, INSERT, UPDATE, DELETE";
    let create = format!(
        "CREATE ROLE {role} LOGIN; GRANT {rights} ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}; \
         REVOKE ALL ON SCHEMA public FROM PUBLIC"
    );
    vendor.database.execute(&create).await;
    let own = format!("CREATE SCHEMA AUTHORIZATION {role}");
    let grant = format!("GRANT USAGE ON SCHEMA public TO {role}");
    for with_own_schema in [false, true] {
        if with_own_schema {
            vendor.database.execute(&own).await;
        }
        for opened in [Store::open(&url).await, Store::open_existing(&url).await] {
            let said = opened.unwrap_err().to_string();
            assert!(said.ends_with(&grant), "{said}");
        }
        let others = "SELECT schemaname::text FROM pg_tables WHERE tablename = 'licenses'";
        let found = vendor.database.texts(others).await;
        assert_eq!(found, [Some("public".to_owned())]);
    }
    vendor.database.execute(&grant).await;
    Store::open_existing(&url).await.unwrap().close().await;
    // Another program's table with one of the names does not count.
    let other = TestDatabase::new(Engine::Postgres).await;
    let hide = format!(
        "CREATE TABLE public.seaql_migrations (version text); \
         REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE SCHEMA AUTHORIZATION {role}"
    );
    other.execute(&hide).await;
    let url = other.url.replace("postgres@", &format!("{role}@"));
    let store = Store::open(&url.parse().unwrap()).await.unwrap();
    store.close().await;
    let clean = format!("DROP OWNED BY {role}");
    other.execute(&clean).await;
    other.drop_database().await;
    vendor
        .database
        .execute(&format!("{clean}; DROP ROLE {role}"))
        .await;
    vendor.end().await;
}
