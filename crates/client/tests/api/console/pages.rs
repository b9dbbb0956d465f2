//! Every page: its texts, its accessibility and its size.

use serde_json::json;

use super::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_shown_as_text() {
    const HOSTILE: &str = "<img src=x onerror=document.title='owned'>\"'</script><script>document.title='owned'</script>";
    let scene = Scene::unlicensed(&["--installation-name", HOSTILE]).await;
    let mut request = license_server::licensing::issue::IssueRequest::of(
        license_server::licensing::catalogue::Tier::Professional,
    );
    request.with = vec![HOSTILE.chars().take(100).collect()];
    let key = scene.vendor.issue(request).await;
    assert_eq!(scene.site.activate(&key).await.0, 200);
    for path in ["/", "/console/diagnostics", "/console/activate"] {
        scene.open(path).await;
        let text = scene.text().await;
        assert!(text.contains("<img src=x"), "{path}: {text}");
        let injected = "return [document.querySelectorAll('img').length, document.scripts.length, document.title.includes('owned')]";
        assert_eq!(
            scene.browser.run(injected).await,
            json!([0, 1, false]),
            "{path}"
        );
    }
    scene.open("/console/activate").await;
    scene.type_into("#key", HOSTILE).await;
    scene.press("Activate").await;
    scene.browser.trouble().await;
    let value = "return document.getElementById('key').value";
    assert_eq!(scene.browser.run(value).await, json!(HOSTILE));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_accessible_and_fits_every_width() {
    let (mut scene, _) = Scene::licensed().await;
    for standing in ["active", "grace"] {
        if standing == "grace" {
            scene.vendor.go_away().await;
            scene.site.validate().await;
        }
        for path in [
            "/",
            "/console/activate",
            "/console/deactivate",
            "/console/offline",
            "/console/diagnostics",
            "/console/sign-in",
        ] {
            let address = format!("{}{path}", scene.site.url);
            scene.browser.examine(&address).await;
        }
    }
    // In the dark, too: colours are others there.
    scene.browser.go_dark().await;
    scene.browser.examine(&scene.site.url).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_page_is_small_and_self_contained() {
    let (scene, _) = Scene::licensed().await;
    let get = async |path: &str| {
        let answer = scene.site.http.get(format!("{}{path}", scene.site.url));
        answer.send().await.unwrap()
    };
    let page = get("/").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = page.text().await.unwrap();
    assert!(!page.contains("style=") && !page.contains("onclick="));
    let mut bytes = page.len();
    let assets: Vec<&str> = page
        .split('"')
        .filter(|it| it.starts_with("/console/assets/"))
        .collect();
    assert_eq!(assets.len(), 3);
    for asset in assets {
        let answer = get(asset).await;
        assert_eq!(answer.status(), 200, "{asset}");
        bytes += answer.bytes().await.unwrap().len();
    }
    assert!(bytes <= 60 * 1024, "{bytes} bytes");
    scene.end().await;
}
