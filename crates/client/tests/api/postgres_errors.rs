//! Errors that PostgreSQL returns because of what its owner has set up.

use serde_json::json;

use crate::database::{Engine, TestDatabase};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

/// What `/readyz` says about the database.
async fn readiness(site: &Site) -> String {
    let (_, readiness) = site.get("/readyz").await;
    readiness["database"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_level_security_is_named_with_what_to_do() {
    let cloud = ScriptedCloud::start().await;
    let owned = TestDatabase::new(Engine::Postgres).await;
    let name = owned.url.rsplit('/').next().unwrap().to_owned();
    let role = format!("user_{name}");
    let mut first = Site::start_on(TestDatabase::same_as(&owned), &cloud.url, &[]).await;
    first.stop().await;
    let grant = format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
    );
    owned.execute(&grant).await;
    let mut used = TestDatabase::same_as(&owned);
    used.url = used.url.replace("postgres@", &format!("{role}@"));
    let mut site = Site::start_on(used, &cloud.url, &[]).await;
    assert_eq!(readiness(&site).await, "ok");

    let secure = "ALTER TABLE system_config ENABLE ROW LEVEL SECURITY";
    owned.execute(secure).await;
    site.until("the hidden row is named", async || {
        let said = readiness(&site).await;
        said.contains("'license_client.secret'") && said.contains("BYPASSRLS")
    })
    .await;
    let switch = json!({"systemEnabled": false});
    let path = "/api/license/features/module.map_view";
    let (status, answer) = site.put(path, switch).await;
    assert_eq!(status, 503, "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("add a policy"), "{detail}");
    assert!(!detail.contains("GRANT SELECT"), "{detail}");
    site.stop().await;
    let clean = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    owned.execute(&clean).await;
    owned.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_is_not_known_is_repeated_with_its_detail_and_hint() {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(Engine::Postgres, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                  RAISE EXCEPTION 'frozen' USING DETAIL = 'until Monday', HINT = 'ask Ann'; \
                  END $$; \
                  CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON system_config \
                  FOR EACH ROW EXECUTE FUNCTION refuse()";
    site.database.execute(refuse).await;
    site.until("it says why", async || {
        readiness(&site).await.contains("frozen")
    })
    .await;
    let expected = "the database returned an error: frozen; detail: until Monday; hint: ask Ann; \
                    the database answered with an unrecognized error; see PostgreSQL's log, or \
                    that of the connection pooler in front of it";
    assert_eq!(readiness(&site).await, expected);
    site.stop().await;
    site.database.drop_database().await;
}
