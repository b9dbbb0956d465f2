//! Tables that another database user has put where the server looks for its own.

use std::time::Duration;

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::{INDEXES, Store, catalogue};
use license_service::database::Timeouts;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tokio::time::timeout;

use crate::database::{Engine, TestDatabase};
use crate::harness::Vendor;

/// The user of the server, and one who may create schemas, and objects in `public`.
struct Users {
    vendor: String,
    other: String,
}

impl Users {
    async fn create(database: &TestDatabase) -> Self {
        let name = database.url.rsplit('/').next().unwrap();
        let (vendor, other) = (format!("vendor_{name}"), format!("planter_{name}"));
        let create = format!(
            "CREATE ROLE {vendor} LOGIN; CREATE ROLE {other}; \
             GRANT CREATE ON SCHEMA public TO {vendor}, {other}; \
             GRANT CREATE ON DATABASE {name} TO {other}"
        );
        database.execute(&create).await;
        Self { vendor, other }
    }

    /// The database, as the server uses it.
    fn of_vendor(&self, database: &TestDatabase) -> TestDatabase {
        let mut used = TestDatabase::same_as(database);
        let Self { vendor, .. } = self;
        used.url = used.url.replace("postgres@", &format!("{vendor}@"));
        used
    }

    /// The other user executes these statements.
    async fn plant(&self, database: &TestDatabase, statements: &str) {
        let Self { other, .. } = self;
        let planting = format!("SET ROLE {other}; {statements}; RESET ROLE");
        database.execute(&planting).await;
    }

    async fn drop(self, database: TestDatabase) {
        for user in [&self.other, &self.vendor] {
            let drop = format!("DROP OWNED BY {user} CASCADE; DROP ROLE {user}");
            database.execute(&drop).await;
        }
        database.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_with_the_name_of_the_user_hides_no_table() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let users = Users::create(&database).await;
    let of_vendor = users.of_vendor(&database);
    let vendor = Vendor::start_before(of_vendor, Timeouts::default()).await;
    vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let Users { vendor: user, .. } = &users;
    let tables = "SELECT string_agg(format('CREATE TABLE SCHEMA.%I (LIKE public.%I)', tablename, \
                  tablename), '; ') FROM pg_tables WHERE schemaname = 'public'";
    let copies = database.texts(tables).await.remove(0).unwrap();
    let copies = copies.replace("SCHEMA", user);
    // As the owner, who may read the tables: the planter knows their columns from the source.
    let plant = format!("CREATE SCHEMA {user}; GRANT ALL ON SCHEMA {user} TO PUBLIC; {copies}");
    let Users { other, .. } = &users;
    let hand_over = format!(
        "{plant}; ALTER SCHEMA {user} OWNER TO {other}; DO $$ DECLARE t text; BEGIN FOR t IN \
         SELECT tablename FROM pg_tables WHERE schemaname = '{user}' LOOP EXECUTE \
         format('ALTER TABLE {user}.%I OWNER TO {other}; GRANT ALL ON {user}.%I TO PUBLIC', t, t); \
         END LOOP; END $$"
    );
    database.execute(&hand_over).await;

    // Another process, which looks the tables up.
    let vendor = vendor.restarted().await;
    vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let count = async |schema: &str| {
        let count = format!("SELECT count(*)::text FROM {schema}.licenses");
        database.texts(&count).await.remove(0).unwrap()
    };
    assert_eq!(
        (count("public").await, count(user).await),
        ("2".into(), "0".into())
    );
    vendor.stop().await;
    users.drop(database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_refuses_tables_that_somebody_else_owns() {
    for (planted, named) in [
        (
            "CREATE TABLE public.customers (id text)",
            "public.customers",
        ),
        (
            "CREATE TABLE public.license_server_migrations (version text, applied_at bigint)",
            "public.license_server_migrations",
        ),
        (
            "CREATE TABLE public.sprung (what text); GRANT ALL ON public.sprung TO PUBLIC; \
             CREATE FUNCTION public.spring() RETURNS text LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO public.sprung VALUES (session_user); \
             RETURN 'm0001_licenses_and_seats'; END $$; \
             CREATE VIEW public.seaql_migrations AS SELECT public.spring() AS version; \
             GRANT ALL ON public.seaql_migrations TO PUBLIC",
            "public.seaql_migrations",
        ),
    ] {
        let database = TestDatabase::new(Engine::Postgres).await;
        let users = Users::create(&database).await;
        users.plant(&database, planted).await;
        let url = users.of_vendor(&database).url.parse().unwrap();
        let refused = Store::open(&url).await.err().map(|it| it.to_string());
        let refused = refused.unwrap_or_default();
        let named = format!("{named} ({})", users.other);
        assert!(refused.contains(&named), "{planted}: {refused}");
        assert!(refused.contains("OWNER TO"), "{refused}");
        let missing = Store::open_existing(&url).await.err();
        assert!(missing.unwrap().to_string().contains(&named), "{planted}");
        if planted.contains("sprung") {
            let sprung = database.texts("SELECT what FROM public.sprung").await;
            assert_eq!(sprung, []);
        }
        let tables = "SELECT tablename::text FROM pg_tables WHERE tableowner = 'VENDOR'";
        let tables = tables.replace("VENDOR", &users.vendor);
        assert_eq!(database.texts(&tables).await, [], "nothing is created");
        users.drop(database).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_does_not_use_a_table_or_a_schema_that_changes_hands_while_it_runs() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let users = Users::create(&database).await;
    let own = format!("CREATE SCHEMA own AUTHORIZATION {}", users.vendor);
    database.execute(&own).await;
    let url = users.of_vendor(&database).url;
    let url = format!("{url}?options=-csearch_path%3Down");
    let store = Store::open(&url.parse().unwrap()).await.unwrap();
    let Users { vendor, other } = &users;
    let begin = async || store.begin().await.err().map(|it| it.to_string());
    let read = async || {
        let read = catalogue::list(store.reader()).await;
        read.err().map(|it| it.to_string())
    };
    for (change, undo, named) in [
        (
            format!(
                "BEGIN; ALTER TABLE own.audit_log RENAME TO kept; \
                 CREATE TABLE own.audit_log (LIKE own.kept INCLUDING ALL); \
                 ALTER TABLE own.audit_log OWNER TO {other}; \
                 GRANT ALL ON own.audit_log TO {vendor}; COMMIT"
            ),
            "DROP TABLE own.audit_log; ALTER TABLE own.kept RENAME TO audit_log".to_owned(),
            format!("own.audit_log ({other})"),
        ),
        (
            format!(
                "ALTER SCHEMA own OWNER TO {other}; GRANT USAGE, CREATE ON SCHEMA own TO {vendor}"
            ),
            format!("ALTER SCHEMA own OWNER TO {vendor}"),
            format!("own ({other})"),
        ),
    ] {
        assert_eq!((begin().await, read().await), (None, None), "{change}");
        database.execute(&change).await;
        for refused in [begin().await, read().await] {
            let refused = refused.unwrap_or_default();
            assert!(refused.contains(&named), "{change}: {refused}");
        }
        database.execute(&undo).await;
        assert_eq!((begin().await, read().await), (None, None), "{undo}");
    }
    store.close().await;
    users.drop(database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_with_the_name_of_a_table_or_index_is_named_with_how_to_drop_it() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let users = Users::create(&database).await;
    for (create, kind, drop) in [
        (
            "CREATE SEQUENCE public.seats_freed",
            "a sequence",
            "DROP SEQUENCE public.seats_freed",
        ),
        (
            "CREATE TYPE public.license_server_migrations AS (x int)",
            "a composite type",
            "DROP TYPE public.license_server_migrations",
        ),
        (
            "CREATE TYPE public.seats AS ENUM ('x')",
            "a type",
            "DROP TYPE public.seats",
        ),
    ] {
        users.plant(&database, create).await;
        let url = users.of_vendor(&database).url.parse().unwrap();
        let refused = Store::open(&url).await.err().map(|it| it.to_string());
        let refused = refused.unwrap_or_default();
        let named = format!("is {kind} of {} ({drop})", users.other);
        assert!(refused.contains(&named), "{create}: {refused}");
        users.plant(&database, drop).await;
    }
    let url = users.of_vendor(&database).url.parse().unwrap();
    Store::open(&url).await.unwrap().close().await;
    let indexes = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' \
                   AND indexname !~ '_(pkey|key)$' OR indexname ~ '_(name|reference)_key$' \
                   ORDER BY indexname COLLATE \"C\"";
    let indexes: Vec<_> = database
        .texts(indexes)
        .await
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(indexes, INDEXES, "each index that a migration creates");
    users.drop(database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_delay_the_first_start_for_long() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let other = database.connect().await;
    let holding = other.begin().await.unwrap();
    let lock = "SELECT pg_advisory_lock(4000731401)";
    holding.execute_unprepared(lock).await.unwrap();
    let url = database.url.parse().unwrap();
    let opened = timeout(Duration::from_secs(60), Store::open(&url)).await;
    opened
        .expect("the lock is not waited for")
        .unwrap()
        .close()
        .await;
    // Processes that start together do not disturb each other.
    let fresh = TestDatabase::new(Engine::Postgres).await;
    let url = fresh.url.parse().unwrap();
    let (first, second) = tokio::join!(Store::open(&url), Store::open(&url));
    first.unwrap().close().await;
    second.unwrap().close().await;
    holding.rollback().await.unwrap();
    other.close().await.unwrap();
    fresh.drop_database().await;
    database.drop_database().await;
}
