//! The way to the License Server, through real proxies of both kinds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use license_client::doctor::{Examiner, examine};
use license_client::proxy::ProxySettings;
use license_client::upstream::Upstream;
use license_core::response::{Reply, TransportFailure};
use license_service::clock::SystemClock;
use license_service::presentable_url::SecretUrl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::nginx::Nginx;
use crate::program::Program;
use crate::scripted_cloud::ScriptedCloud;
use crate::vendor::Vendor;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_answers_are_read() {
    let vendor = Vendor::start().await;
    let nginx = Nginx::compressing(&vendor.url).await;
    let keys = vendor.trusted_keys();
    let url = format!("{}/api", nginx.url);
    let raw = reqwest::Client::builder().no_gzip().build().unwrap();
    let asked = raw
        .get(format!("{url}/licenses/keys"))
        .header("accept-encoding", "gzip");
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let site = Site::start(Engine::Sqlite, &url, &["--license-trusted-keys", &keys]).await;
    let (status, body) = site.activate(&vendor.issue_professional().await).await;
    assert_eq!(status, 200, "{body}");
    site.end().await;
}

/// A small proxy that passes everything on to one server, and notes what it was asked
/// for.
struct SmallProxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl SmallProxy {
    /// One of SOCKS 5 (RFC 1928) with names and passwords (RFC 1929).
    async fn socks(server: &str) -> Self {
        Self::start(server, |mut client, server, asked| async move {
            let mut head = [0; 2];
            client.read_exact(&mut head).await.unwrap();
            assert_eq!(head[0], 5);
            let mut methods = vec![0; head[1].into()];
            client.read_exact(&mut methods).await.unwrap();
            let mut who = String::new();
            if methods.contains(&2) {
                client.write_all(&[5, 2]).await.unwrap();
                let mut texts = Vec::new();
                client.read_u8().await.unwrap();
                for _ in 0..2 {
                    let mut text = vec![0; client.read_u8().await.unwrap().into()];
                    client.read_exact(&mut text).await.unwrap();
                    texts.push(String::from_utf8(text).unwrap());
                }
                client.write_all(&[1, 0]).await.unwrap();
                who = format!("{} ", texts.join(":"));
            } else {
                client.write_all(&[5, 0]).await.unwrap();
            }
            let mut request = [0; 4];
            client.read_exact(&mut request).await.unwrap();
            let host = match request[3] {
                1 => {
                    let mut address = [0; 4];
                    client.read_exact(&mut address).await.unwrap();
                    std::net::Ipv4Addr::from(address).to_string()
                }
                3 => {
                    let mut name = vec![0; client.read_u8().await.unwrap().into()];
                    client.read_exact(&mut name).await.unwrap();
                    String::from_utf8(name).unwrap()
                }
                other => panic!("address type {other}"),
            };
            let port = client.read_u16().await.unwrap();
            asked.lock().unwrap().push(format!("{who}{host}:{port}"));
            client
                .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
                .await
                .unwrap();
            let mut server = TcpStream::connect(server).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
        })
        .await
    }

    /// One of HTTP, for plain addresses.
    async fn http(server: &str) -> Self {
        Self::start(server, |mut client, server, asked| async move {
            let mut head = vec![0; 4096];
            let read = client.read(&mut head).await.unwrap();
            let text = String::from_utf8_lossy(&head[..read]).into_owned();
            asked
                .lock()
                .unwrap()
                .push(text.lines().next().unwrap_or_default().to_owned());
            let mut server = TcpStream::connect(server).await.unwrap();
            server.write_all(&head[..read]).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
        })
        .await
    }

    async fn start<F: Future<Output = ()> + Send + 'static>(
        server: &str,
        serve: fn(TcpStream, String, Arc<Mutex<Vec<String>>>) -> F,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap().to_string(),
            asked: Arc::default(),
        };
        let (server, asked) = (server.to_owned(), proxy.asked.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server.clone(), asked.clone()));
            }
        });
        proxy
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn settings(variables: &[(&str, &str)]) -> ProxySettings {
    ProxySettings::read(|asked| {
        let found = variables.iter().find(|(variable, _)| *variable == asked);
        found.map(|(_, value)| (*value).to_owned())
    })
}

async fn call(url: &str, variables: &[(&str, &str)]) -> Reply {
    let url = SecretUrl::parse(url, &["http", "https"]).unwrap();
    let timeout = Duration::from_secs(5);
    let upstream = Upstream::new(&url, timeout, None, None, &settings(variables)).unwrap();
    upstream.key_sets(1).await
}

fn server_of(cloud: &ScriptedCloud) -> String {
    let address = cloud.url.strip_prefix("http://").unwrap();
    address.trim_end_matches("/api").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_through_a_socks_proxy_and_not_where_no_proxy_lists_the_server() {
    let cloud = ScriptedCloud::start().await;
    let server = server_of(&cloud);
    let port = server.rsplit(':').next().unwrap().to_owned();
    let proxy = SmallProxy::socks(&server).await;
    let plain = format!("socks5://{}", proxy.address);
    let remote = format!("SOCKS5h://corp:pa%2355@{}", proxy.address);
    let unknown = format!("http://license.vendor.test:{port}/api");
    let local = format!("http://127.0.0.1:{port}/api");
    for (url, all_proxy, no_proxy, asked) in [
        (&local, &plain, "", Some(format!("127.0.0.1:{port}"))),
        // The proxy alone knows the name.
        (
            &unknown,
            &remote,
            "",
            Some(format!("corp:pa#55 license.vendor.test:{port}")),
        ),
        (
            &unknown,
            &remote,
            "127.0.0.1,other.test",
            Some(format!("corp:pa#55 license.vendor.test:{port}")),
        ),
        (&local, &plain, "*", None),
        (&local, &plain, "127.0.0.0/8", None),
        (
            &local,
            &plain,
            &*format!("10.0.0.1, 127.0.0.1:{port}"),
            None,
        ),
        (
            &local,
            &plain,
            "127.0.0.1:1",
            Some(format!("127.0.0.1:{port}")),
        ),
    ] {
        let reply = call(url, &[("ALL_PROXY", all_proxy), ("NO_PROXY", no_proxy)]).await;
        assert!(
            matches!(reply, Reply::Answer { status: 200, .. }),
            "{reply:?}"
        );
        let expected: Vec<String> = asked.into_iter().collect();
        assert_eq!(proxy.asked(), expected, "{url} {no_proxy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_through_an_http_proxy_and_not_where_no_proxy_lists_the_server() {
    let cloud = ScriptedCloud::start().await;
    let proxy = SmallProxy::http(&server_of(&cloud)).await;
    let port = server_of(&cloud).rsplit(':').next().unwrap().to_owned();
    for (no_proxy, is_used) in [
        ("", true),
        ("::1,10.0.0.0/8,.vendor.test,127.0.0.1:1", true),
        (" * ", false),
        (&*format!("127.0.0.1:{port}"), false),
        ("127.0.0.0/16", false),
    ] {
        let variables = [("http_proxy", &*proxy.address), ("no_proxy", no_proxy)];
        let reply = call(&cloud.url, &variables).await;
        assert!(
            matches!(reply, Reply::Answer { status: 200, .. }),
            "{reply:?}"
        );
        let asked = proxy.asked();
        assert_eq!(asked.len(), usize::from(is_used), "{no_proxy}: {asked:?}");
        let line = format!("GET {}/licenses/keys?after=1 HTTP/1.1", cloud.url);
        assert!(asked.iter().all(|it| *it == line), "{asked:?}");
    }
}

/// A proxy that answers every request with these bytes.
async fn answering(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let _ = client.read(&mut head).await;
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_answers_is_reported_for_https_as_for_http() {
    let site = Site::start(Engine::Sqlite, "http://127.0.0.1:9/api", &[]).await;
    let refuses = "refuses the connection with HTTP";
    let accepts = "accepts the connection, but this program does not support the format";
    let long = format!("X-Filler: {}\r\n", "x".repeat(9000));
    for (line, headers, status, said) in [
        (
            "407 Proxy Authentication Required",
            "",
            407,
            "requires a sign-in",
        ),
        ("403 Forbidden", "", 403, refuses),
        ("502 Bad Gateway", "", 502, refuses),
        ("503 Service Unavailable", &*long, 503, refuses),
        ("201 Created", "", 201, accepts),
        ("200 OK", &*long, 200, accepts),
    ] {
        let answer = format!("HTTP/1.1 {line}\r\n{headers}Content-Length: 0\r\n\r\n");
        let proxy = answering(answer).await;
        let variables = [("ALL_PROXY", &*proxy)];
        let plain = call("http://license.vendor.test/api", &variables).await;
        let is_status =
            |reply: &Reply| matches!(reply, Reply::Answer { status: it, .. } if *it == status);
        let demands = |reply: &Reply| {
            matches!(reply, Reply::Failure(TransportFailure::ProxySignIn { .. })) && status == 407
        };
        assert!(is_status(&plain) || demands(&plain), "{plain:?}");
        let url = "https://license.vendor.test/api";
        match call(url, &variables).await {
            Reply::Failure(TransportFailure::ProxySignIn { detail }) if status == 407 => {
                assert!(detail.contains("password in ALL_PROXY"), "{detail}");
            }
            Reply::Failure(TransportFailure::Unreachable { detail }) => {
                assert!(
                    detail.starts_with(&format!("the proxy {proxy} {said}")),
                    "{detail}"
                );
                assert!(detail.contains(&format!("HTTP {status}")), "{detail}");
                let is_advised = detail.contains("list license.vendor.test:443 in NO_PROXY");
                assert!(is_advised, "{detail}");
            }
            reply => panic!("{line}: {reply:?}"),
        }
        let mut checked = site.settings().clone();
        checked.license_api_url = SecretUrl::parse(url, &["https"]).unwrap();
        checked.proxies = settings(&variables);
        let findings = examine(&checked, &SystemClock, Examiner::Command, |_| {}).await;
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let said =
            format!("https://license.vendor.test cannot be reached: the proxy {proxy} {said}");
        assert!(shown.iter().any(|it| it.contains(&said)), "{shown:?}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_basic_is_explained_in_the_same_way_by_calls_and_by_doctor() {
    let site = Site::start(Engine::Sqlite, "http://127.0.0.1:9/api", &[]).await;
    let offered = "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n";
    let answer =
        format!("HTTP/1.1 407 Proxy Authentication Required\r\n{offered}Content-Length: 0\r\n\r\n");
    let proxy = answering(answer).await;
    let with_password = format!("http://user:hunter2@{proxy}");
    for (url, variable) in [
        ("http://license.vendor.test/api", "HTTP_PROXY"),
        ("https://license.vendor.test/api", "HTTPS_PROXY"),
    ] {
        let variables = [(variable, &*with_password)];
        let reply = call(url, &variables).await;
        let Reply::Failure(TransportFailure::ProxySignIn { detail }) = reply else {
            panic!("{url}: {reply:?}");
        };
        let mut checked = site.settings().clone();
        checked.license_api_url = SecretUrl::parse(url, &["http", "https"]).unwrap();
        checked.proxies = settings(&variables);
        let findings = examine(&checked, &SystemClock, Examiner::Command, |_| {}).await;
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let shown = shown.iter().find(|it| it.contains("HTTP 407")).unwrap();
        for text in [&detail, shown] {
            assert!(text.contains("offers only Negotiate and NTLM"), "{text}");
            assert!(
                text.contains(variable) && text.contains("cntlm or px"),
                "{text}"
            );
            assert!(
                !text.contains("hunter2") && !text.contains("LICENSE_API_URL"),
                "{text}"
            );
        }
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_says_which_way_calls_take_and_takes_it() {
    let cloud = ScriptedCloud::start().await;
    let proxy = SmallProxy::socks(&server_of(&cloud)).await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let all_proxy = format!("socks5://corp:pa55@{}", proxy.address);
    for (no_proxy, said, is_used) in [
        (
            "",
            format!(
                "the License Server is contacted through socks5://{} (ALL_PROXY)",
                proxy.address
            ),
            true,
        ),
        (
            "127.0.0.0/8",
            "the License Server is contacted directly, because NO_PROXY lists '127.0.0.0/8'"
                .to_owned(),
            false,
        ),
        (
            "10.*",
            format!(
                "the License Server is contacted through socks5://{} (ALL_PROXY)",
                proxy.address
            ),
            true,
        ),
    ] {
        let mut checked = site.settings().clone();
        checked.proxies = settings(&[("ALL_PROXY", &all_proxy), ("NO_PROXY", no_proxy)]);
        let findings = examine(&checked, &SystemClock, Examiner::Command, |_| {}).await;
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|it| it.contains(&said)), "{shown:?}");
        assert!(!shown.concat().contains("pa55"), "{shown:?}");
        assert_eq!(!proxy.asked().is_empty(), is_used, "{no_proxy}");
        let warned = shown
            .iter()
            .any(|it| it.contains("entries that match nothing: 10.*"));
        assert_eq!(warned, no_proxy == "10.*", "{shown:?}");
        let answers = shown
            .iter()
            .any(|it| it.contains("License Server: ") && it.contains(" responds"));
        assert!(answers, "{shown:?}");
    }
    let mut checked = site.settings().clone();
    checked.proxies = settings(&[("HTTP_PROXY", "quic://corp:pa55@proxy")]);
    let findings = examine(&checked, &SystemClock, Examiner::Command, |_| {}).await;
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let refused = "ERROR    proxy: HTTP_PROXY names a proxy with an unsupported scheme";
    assert!(shown.iter().any(|it| it.starts_with(refused)), "{shown:?}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_takes_the_proxy_of_its_environment() {
    let cloud = ScriptedCloud::start().await;
    let proxy = SmallProxy::socks(&server_of(&cloud)).await;
    let program = Program::start_with(
        &["--license-api-url", "http://license.vendor.test/api"],
        &[
            ("ALL_PROXY", format!(" socks5h://{}\r", proxy.address)),
            ("NO_PROXY", "localhost".into()),
        ],
    )
    .await;
    let body = serde_json::json!({ "licenseKey": KEY });
    let activated = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(program.url("/api/license/activate"))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(activated.status(), 200, "{}", program.log());
    assert_eq!(proxy.asked(), ["license.vendor.test:80"]);
}
