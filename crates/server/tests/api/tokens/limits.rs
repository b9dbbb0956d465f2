//! How many tokens there are.

use futures_util::future::join_all;
use license_server::licensing::tokens::MAX_TOKENS;
use license_server::store::admin_tokens::{count_usable, usable};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{added, status};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    the_limit_holds_however_many_are_created_at_once_and_no_token_is_left_out;
}

async fn the_limit_holds_however_many_are_created_at_once_and_no_token_is_left_out(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let first = added(&vendor, "ana", None).await;
    let others = MAX_TOKENS - 3;
    let fill = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE \
         n < {others}) INSERT INTO admin_tokens (name, hash, created_at, created_by) \
         SELECT 'token-' || n, 'hash-' || n, CURRENT_TIMESTAMP, 'test' FROM numbers"
    );
    vendor.database.execute(&fill).await;
    let adding = (0..8).map(async |number: usize| {
        let vendor = [&vendor, &twin][number % 2];
        let body = json!({"name": format!("new-{number}")});
        vendor.admin(Method::POST, "/tokens", body).await.0
    });
    let answers = join_all(adding).await;
    let created = answers.iter().filter(|it| **it == StatusCode::CREATED);
    assert_eq!(created.count(), 2, "{answers:?}");
    let refused = answers.iter().filter(|it| **it == StatusCode::CONFLICT);
    assert_eq!(refused.count(), 6, "{answers:?}");
    let db = vendor.app.store.reader();
    assert_eq!(count_usable(db).await.unwrap(), MAX_TOKENS);
    // However many rows there are, as after a restored backup, each token is known.
    let more = fill
        .replace("'token-'", "'more-'")
        .replace("'hash-'", "'more-'");
    vendor.database.execute(&more).await;
    let used = "UPDATE admin_tokens SET last_used_at = CURRENT_TIMESTAMP WHERE name = 'ana'";
    vendor.database.execute(used).await;
    assert_eq!(usable(db).await.unwrap().len(), 3);
    for server in [&vendor, &twin] {
        assert_eq!(status(server, &first).await, 200);
    }
    twin.stop().await;
    vendor.end().await;
}
