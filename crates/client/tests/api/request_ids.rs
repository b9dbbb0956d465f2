//! A request, its answer, and the log lines that it causes have one id.

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::program::Program;

const ID: &str = "proxy-7f.3_A";

struct Answered {
    status: u16,
    /// `X-Request-Id`.
    id: String,
    body: String,
}

impl Answered {
    async fn of(request: RequestBuilder) -> Self {
        let response: Response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            id: response.headers()["x-request-id"]
                .to_str()
                .unwrap()
                .to_owned(),
            body: response.text().await.unwrap(),
        }
    }

    fn body_id(&self) -> Value {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        body["requestId"].clone()
    }
}

/// The lines that a request has caused.
fn lines(log: &str, id: &str) -> Vec<Value> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["span"]["id"] == id)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_its_page_and_the_log_name_the_same_request() {
    let flags = [
        "--log-format",
        "json",
        "--license-api-url",
        "http://127.0.0.1:1",
    ];
    let environment = [("ADMIN_TOKEN", "a-token-of-sixteen-characters".to_owned())];
    let mut program = Program::start_with(&flags, &environment).await;
    let http = Client::builder().no_proxy().build().unwrap();
    let sign_in = |id: &str| {
        http.post(program.url("/console/sign-in"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-request-id", id)
            .body("token=wrong")
    };
    let refused = Answered::of(sign_in(ID)).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.id, ID);

    let missing = program.url("/missing/FXSGHT-SECRET");
    let not_found = Answered::of(http.get(&missing).header("x-request-id", ID)).await;
    assert_eq!((not_found.status, not_found.body_id()), (404, ID.into()));
    let page = http.get(&missing).header("accept", "text/html");
    let page = Answered::of(page).await;
    assert_eq!(page.status, 404);
    assert!(page.body.contains(&page.id), "{}", page.body);

    // Ids that could forge a log line, or fill it, are replaced.
    for odd in ["a b", "\"", &"x".repeat(65)] {
        let odd = Answered::of(sign_in(odd)).await;
        assert_eq!(odd.id.len(), 16, "{}", odd.id);
    }
    // What is not an error has an id, too.
    let check = http.get(program.url("/health"));
    let check = Answered::of(check).await;
    assert_eq!((check.status, check.id.len()), (200, 16));

    // The activation runs in a task that outlives its caller.
    let activate = http.request(Method::POST, program.url("/api/license/activate"));
    let activate = activate.json(&json!({"licenseKey": "FXSGHT-AAAA-AAAA-AAAA-AAAA"}));
    let activate = Answered::of(activate).await;
    assert_eq!(activate.status, 400);
    assert_eq!(activate.body_id(), activate.id.as_str());

    program.terminate();
    let log = program.log();
    let sign_in_lines = lines(&log, ID);
    assert_eq!(sign_in_lines.len(), 1, "{log}");
    let line = &sign_in_lines[0];
    assert_eq!(line["span"]["route"], "/console/sign-in", "{line}");
    assert_eq!(line["span"]["method"], "POST", "{line}");
    let activation_lines = lines(&log, &activate.id);
    let routes = activation_lines.iter().map(|line| &line["span"]["route"]);
    let routes: Vec<&Value> = routes.collect();
    assert!(!routes.is_empty(), "{log}");
    assert!(
        routes.iter().all(|route| *route == "/api/license/activate"),
        "{log}"
    );
    assert!(!log.contains("SECRET"), "{log}");
}
