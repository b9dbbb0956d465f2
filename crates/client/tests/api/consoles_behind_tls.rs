//! The consoles of both services behind nginx, with TLS on a separate port: the shipped
//! configuration.

use reqwest::{Client, Response};

use crate::database::Engine;
use crate::harness::Site;
use crate::nginx::Nginx;
use crate::vendor::{ADMIN_TOKEN, Vendor};

const TOKEN: &str = "a-token-of-a-good-length";
const PAGE: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// What a browser sends that says nothing but the origin.
async fn sign_in(http: &Client, base: &str, token: &str, origin: &str, accept: &str) -> Response {
    let request = http
        .post(format!("{base}/console/sign-in"))
        .header("origin", origin)
        .header("accept", accept)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}"));
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_lets_people_sign_in_on_any_port() {
    let vendor = Vendor::start().await;
    let flags = [
        "--admin-token",
        TOKEN,
        "--allowed-hosts",
        "https://vms.example:8443",
    ];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let nginx = Nginx::consoles(&site.url, vendor.url.trim_end_matches("/api")).await;
    let port: u16 = nginx.url.rsplit_once(':').unwrap().1.parse().unwrap();
    let pem = std::fs::read(nginx.certificate()).unwrap();
    let address = ([127, 0, 0, 1], port).into();
    let http = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
        .resolve("vms.example", address)
        .resolve("licenses.example", address)
        .build()
        .unwrap();
    for (name, token, home) in [
        ("vms.example", TOKEN, "/api/license/status"),
        ("licenses.example", ADMIN_TOKEN, "/console/licenses"),
    ] {
        let base = format!("https://{name}:{port}");
        let signed_in = sign_in(&http, &base, token, &base, PAGE).await;
        assert_eq!(signed_in.status(), 303, "{name}");
        assert_eq!(header(&signed_in, "location"), "/?done=signed-in");
        let cookie = header(&signed_in, "set-cookie");
        assert!(cookie.contains("; Secure"), "{name}: {cookie}");
        let cookie = cookie.split(';').next().unwrap();
        let page = http.get(format!("{base}{home}")).header("cookie", cookie);
        assert_eq!(page.send().await.unwrap().status(), 200, "{name}");

        // A proxy that leaves out the port looks like another site; people read
        // what to do, and programs JSON.
        let without_port = format!("https://{name}");
        let refused = sign_in(&http, &base, token, &without_port, PAGE).await;
        assert_eq!(refused.status(), 403, "{name}");
        assert_eq!(header(&refused, "content-type"), "text/html; charset=utf-8");
        assert!(header(&refused, "content-security-policy").contains("script-src 'self'"));
        let page = refused.text().await.unwrap();
        for said in [
            "<title>Request refused</title>".to_owned(),
            format!("<code>{without_port}</code>"),
            format!("<code>{name}:{port}</code>"),
            "proxy_set_header Host $http_host".to_owned(),
        ] {
            assert!(page.contains(&said), "{name}: {said} is not in {page}");
        }
        let odd = sign_in(&http, &base, token, "https://<script>.example", PAGE).await;
        let odd = odd.text().await.unwrap();
        assert!(
            !odd.contains("<script>") && odd.contains("&#60;script&#62;"),
            "{odd}"
        );
        let refused = sign_in(&http, &base, token, &without_port, "*/*").await;
        assert_eq!(refused.status(), 403, "{name}");
        assert_eq!(header(&refused, "content-type"), "application/json");
        refused.json::<serde_json::Value>().await.unwrap();
    }
    // Callers through the proxy do not count as local.
    let change = http.post(format!("https://vms.example:{port}/api/license/validate"));
    assert_eq!(change.send().await.unwrap().status(), 401);
    site.end().await;
}
