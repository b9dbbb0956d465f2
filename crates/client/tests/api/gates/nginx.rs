//! nginx, with `auth_request`.

use super::{Licensed, get};
use crate::nginx::Nginx;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_rules_gate_by_feature() {
    let mut licensed = Licensed::by_feature().await;
    let locations: String = [
        ("map", "module.map_view"),
        ("alarms", "module.alarm_advanced"),
        ("live", "module.live_view"),
        ("nope", "module.nope"),
    ]
    .iter()
    .map(|(name, feature)| {
        format!(
            "location /{name}/ {{ set $license_feature {feature}; auth_request /_license; \
             error_page 403 = @unlicensed; error_page 500 = @license_client_down; \
             proxy_pass http://{}; }}\n",
            licensed.backend.address
        )
    })
    .collect();
    let nginx = Nginx::gate(&licensed.site.url, &locations).await;
    licensed.is_gated_by(&nginx.url).await;
    licensed.is_not_led_astray(&nginx.url).await;
    for header in ["x-license-feature", "x-forwarded-uri", "x-original-uri"] {
        let answer = get(&nginx.url, "/alarms/1", &[(header, "module.live_view")]).await;
        assert_eq!(answer.status(), 403, "{header}");
        let answer = get(&nginx.url, "/map/1", &[(header, "module.nope")]).await;
        assert_eq!(answer.status(), 200, "{header}");
    }
    licensed.is_shut_without_it(&nginx.url, 503).await;
    licensed.is_shut_while_it_hangs(&nginx.url).await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_rules_gate_by_path() {
    let mut licensed = Licensed::by_path().await;
    let locations = format!(
        "auth_request /_license_by_path; error_page 403 = @unlicensed; \
         error_page 500 = @license_client_down; location / {{ proxy_pass http://{}; }}",
        licensed.backend.address
    );
    let nginx = Nginx::gate(&licensed.site.url, &locations).await;
    licensed.is_gated_by(&nginx.url).await;
    licensed.is_not_led_astray(&nginx.url).await;
    for path in [
        "//alarms/1",
        "/%61larms/1",
        "/map/../alarms/1",
        "/map/%2e%2e/alarms/1",
        "/map/..%2falarms/1",
        "/alarms;x=1/1",
        "/alarms%5c1",
    ] {
        let answer = get(&nginx.url, path, &[]).await;
        let refused = [400, 403].contains(&answer.status().as_u16());
        assert!(refused, "{path}");
    }
    licensed.is_shut_without_it(&nginx.url, 503).await;
    licensed.end().await;
}
