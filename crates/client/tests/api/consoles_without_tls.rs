//! The consoles of both services over plain HTTP, under a name that is not the browser's own
//! machine: browsers then send no `Sec-Fetch-Site`, and `Origin` is all that says where a form
//! comes from.

use serde_json::json;
use url::Url;

use crate::chromium::Chromium;
use crate::database::Engine;
use crate::harness::Site;
use crate::vendor::{ADMIN_TOKEN, Vendor};

const TOKEN: &str = "a-token-of-a-good-length";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_sign_in_over_plain_http_under_a_name_of_their_network() {
    let vendor = Vendor::start().await;
    let site = Site::start(Engine::Sqlite, &vendor.url, &["--admin-token", TOKEN]).await;
    let browser = Chromium::start_with(&["--host-resolver-rules=MAP vms-machine 127.0.0.1"]).await;
    for (base, token) in [(&site.url, TOKEN), (&vendor.url, ADMIN_TOKEN)] {
        let mut page = Url::parse(base).unwrap();
        page.set_host(Some("vms-machine")).unwrap();
        page.set_path("/console/sign-in");
        browser.open(page.as_str()).await;
        let is_secure = "return isSecureContext";
        assert_eq!(browser.run(is_secure).await, json!(false));
        browser.type_into("#token", token).await;
        browser.press("Sign in").await;
        let signed_in = "return location.pathname + location.search";
        browser.until(signed_in, &json!("/?done=signed-in")).await;
    }
    browser.end().await;
    site.end().await;
}
