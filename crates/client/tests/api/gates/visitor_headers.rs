//! The headers of `deploy/visitor_headers.txt`: no gateway passes them on from visitors.

use super::requests::{send_raw, sent_headers};
use super::{Licensed, shipped};

/// The characters that names may have besides letters, digits, dashes and underscores (RFC 9110,
/// section 5.6.2). CGI turns each of them into an underscore.
const OTHER_CHARACTERS: &str = "!#$%&'*+.^`|~";
/// Gateways accept about 100 headers.
const HEADERS_PER_REQUEST: usize = 60;
/// Headers that state nothing about the license, the method or the path, and pass.
const HONEST: [&str; 4] = [
    "accept-language",
    "access-control-request-method",
    "x-camera-id",
    "x-camera-path",
];

/// The names of the table.
pub(super) fn names() -> Vec<String> {
    let table = std::fs::read_to_string(shipped::file("deploy/visitor_headers.txt")).unwrap();
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<_> = lines
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 40, "{names:?}");
    names
}

/// A name with each combination of dashes and underscores.
fn with_underscores(name: &str) -> Vec<String> {
    let mut spellings = vec![String::new()];
    for character in name.chars() {
        let choices: &[char] = if character == '-' {
            &['-', '_']
        } else {
            &[character]
        };
        spellings = spellings
            .iter()
            .flat_map(|start| choices.iter().map(move |it| format!("{start}{it}")))
            .collect();
    }
    spellings
}

/// A name with each of the other characters in place of dashes.
fn with_other_characters(name: &str) -> Vec<String> {
    let characters = OTHER_CHARACTERS.chars();
    let spellings = characters.map(|it| name.replace('-', &it.to_string()));
    spellings.collect()
}

/// Sends headers with these names through the gateway, and finds those that the service receives.
async fn received(gateway: &str, path: &str, names: &[String]) -> Vec<String> {
    let mut received = Vec::new();
    for names in names.chunks(HEADERS_PER_REQUEST) {
        let claims = names
            .iter()
            .map(|name| format!("{}: claimed\r\n", name.to_uppercase()));
        let honest = HONEST.iter().map(|name| format!("{name}: honest\r\n"));
        let headers: String = claims.chain(honest).collect();
        let headers = format!("Connection: close\r\n{headers}");
        let answer = send_raw(gateway, path, &headers).await;
        assert_eq!(answer.get(9..12), Some("200"), "{path}: {answer}");
        let seen = sent_headers(&answer);
        for name in HONEST {
            assert_eq!(seen[name], "honest", "{path}: {answer}");
        }
        let claims = seen.iter().filter(|(_, value)| *value == "claimed");
        received.extend(claims.map(|(name, _)| name.clone()));
    }
    received
}

impl Licensed {
    /// No spelling of a header in the table reaches the service, and `Connection` does not
    /// remove ours.
    pub(super) async fn removes_visitor_headers(&self, gateway: &str, paths: &[&str]) {
        let mut spellings = Vec::new();
        for name in names() {
            spellings.extend(with_underscores(&name));
            spellings.extend(with_other_characters(&name));
        }
        for path in paths {
            let received = received(gateway, path, &spellings).await;
            assert_eq!(received, [""; 0], "{path}");
        }
        let listed = "Connection: close, X-License-Reason\r\nConnection: x-license-reason\r\n";
        let answer = send_raw(gateway, "/map/1", listed).await;
        let seen = sent_headers(&answer);
        assert_eq!(seen["x-license-reason"], "licensed", "{answer}");
    }

    /// The same for a gateway that knows exact names only.
    pub(super) async fn removes_names_of_the_table(&self, gateway: &str, others: &[&str]) {
        let mut names = names();
        names.extend(others.iter().map(|&name| name.to_owned()));
        let received = received(gateway, "/map/1", &names).await;
        assert_eq!(received, [""; 0]);
    }
}
