//! What the database user may not do on PostgreSQL: it is named with the statement that helps, and
//! no second set of tables is created.

use serde_json::Value;

use crate::database::{Engine, TestDatabase};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

/// The database of a role that may create tables in `public`, and its owner's.
struct Scene {
    owned: TestDatabase,
    role: String,
}

impl Scene {
    async fn new() -> Self {
        let owned = TestDatabase::new(Engine::Postgres).await;
        let name = owned.url.rsplit('/').next().unwrap();
        let role = format!("user_{name}");
        let scene = Self { owned, role };
        scene.execute("CREATE ROLE USER_ LOGIN").await;
        scene
    }

    /// A statement of the owner, with `USER_` for the role.
    async fn execute(&self, sql: &str) {
        self.owned.execute(&sql.replace("USER_", &self.role)).await;
    }

    fn of_role(&self) -> TestDatabase {
        let mut used = TestDatabase::same_as(&self.owned);
        used.url = used.url.replace("postgres@", &format!("{}@", self.role));
        used
    }

    async fn schemas(&self) -> Vec<Option<String>> {
        let sql = "SELECT schemaname::text FROM pg_tables WHERE tablename = 'system_config'";
        self.owned.texts(sql).await
    }

    async fn end(self) {
        self.execute("DROP OWNED BY USER_; DROP ROLE USER_").await;
        self.owned.drop_database().await;
    }
}

async fn is_ready(site: &Site) -> bool {
    site.get("/readyz").await.0 == 200
}

/// Waits until `/readyz` ends with a statement for the role, and returns it.
async fn advised(site: &Site, expected: &str) -> String {
    let mut said = Value::Null;
    for _ in 0..200 {
        said = site.get("/readyz").await.1["database"].clone();
        let said = said.as_str().unwrap_or_default();
        if let Some(at) = said.find(expected) {
            return said[at..].to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{expected} is not in {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_in_a_hidden_schema_are_never_created_a_second_time() {
    let cloud = ScriptedCloud::start().await;
    let scene = Scene::new().await;
    scene
        .execute("GRANT CREATE ON SCHEMA public TO USER_")
        .await;
    let mut site = Site::start_on(scene.of_role(), &cloud.url, &[]).await;
    assert_eq!(site.activate(KEY).await.0, 200);
    site.stop().await;
    let hide = "CREATE SCHEMA AUTHORIZATION USER_; REVOKE ALL ON SCHEMA public FROM PUBLIC, USER_";
    scene.execute(hide).await;
    let here = [Some("public".to_owned())];
    site.start_again().await;
    let grant = format!("GRANT USAGE ON SCHEMA public TO {}", scene.role);
    assert_eq!(advised(&site, &grant).await, grant);
    assert!(!is_ready(&site).await);
    assert_eq!(scene.schemas().await, here);

    scene.execute(&grant).await;
    site.until("it is ready", async || is_ready(&site).await)
        .await;
    assert_eq!(scene.schemas().await, here);
    assert_eq!(site.standing().await, "active");

    // Also while it is running.
    scene
        .execute("REVOKE USAGE ON SCHEMA public FROM USER_")
        .await;
    assert_eq!(advised(&site, &grant).await, grant);
    scene.execute(&grant).await;
    site.until("it is ready again", async || is_ready(&site).await)
        .await;
    assert_eq!(scene.schemas().await, here);
    site.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_missing_right_is_named_with_its_statement_and_that_helps() {
    let cloud = ScriptedCloud::start().await;
    for (before, rights) in [
        ("SELECT 1", "CREATE ON SCHEMA public"),
        (
            "GRANT CREATE ON SCHEMA public TO USER_; REVOKE USAGE ON SCHEMA public FROM PUBLIC",
            "USAGE ON SCHEMA public",
        ),
        (
            "REVOKE ALL ON SCHEMA public FROM PUBLIC",
            "USAGE, CREATE ON SCHEMA public",
        ),
        ("CONNECT", "CONNECT ON DATABASE"),
    ] {
        let scene = Scene::new().await;
        let name = scene.owned.url.rsplit('/').next().unwrap().to_owned();
        let before = match before {
            "CONNECT" => format!(
                "GRANT CREATE ON SCHEMA public TO USER_; REVOKE ALL ON DATABASE {name} FROM PUBLIC"
            ),
            before => before.to_owned(),
        };
        scene.execute(&before).await;
        let mut site = Site::start_on(scene.of_role(), &cloud.url, &[]).await;
        let grant = advised(&site, &format!("GRANT {rights}")).await;
        assert!(!grant.contains("SELECT"), "{grant}");
        assert_eq!(scene.schemas().await, [], "{grant}");
        scene.execute(&grant).await;
        site.until("it is ready", async || is_ready(&site).await)
            .await;
        assert_eq!(scene.schemas().await, [Some("public".to_owned())]);
        site.stop().await;
        scene.end().await;
    }
}
