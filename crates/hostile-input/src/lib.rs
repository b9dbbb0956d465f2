//! All parsers of untrusted bytes, as functions of bytes.
//!
//! Each function panics when an invariant is broken: something unsigned was accepted, or a response
//! is an internal error. The fuzzers in `fuzz/` drive them, and so does a small test here.
#![expect(clippy::unwrap_used, reason = "a panic is what a fuzzer looks for")]

mod request;

pub use request::request;

use std::sync::LazyLock;

use clap::Parser;
use license_client::config::Settings;
use license_core::document::{verify_denial, verify_license, verify_release};
use license_core::feature::FeatureKey;
use license_core::keyring::Keyring;
use license_core::offline::{OfflineRequest, Reader, from_file, import};
use license_core::protocol::{
    ActivateRequest, DeactivateRequest, HeartbeatRequest, RedeemRequest, TrialRequest,
    ValidateRequest,
};
use license_core::remembered::Remembered;
use license_core::response::{self, Contact, Denial, Question, Reply, Request as _, Trust};
use license_core::rotation::{follow, walk};
use license_core::route::{
    Effort, MAX_PATH_BYTES, Otherwise, Pattern, PlainPath, Route, RouteTable,
};

/// A function of bytes and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All functions.
pub const TARGETS: [Target; 7] = [
    ("document", document),
    ("key_set", key_set),
    ("contact", contact),
    ("license_file", license_file),
    ("configuration", configuration),
    ("request", request),
    ("path", path),
];

/// Genuine documents, one per line, with which mutations start.
pub const SEEDS: &str = include_str!("../seeds.txt");

/// A key without a known private part: what it verifies is in [`SEEDS`].
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}]}"#;

/// A table in which many details of a path make a difference.
static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| {
    let patterns = ["/", "/a", "/a/b", "/a/**", "/*/b", "/a/*/é/**", "/b"];
    let routes = patterns.iter().enumerate().map(|(number, pattern)| Route {
        methods: vec!["GET".to_owned(); number % 2],
        pattern: Pattern::parse(pattern).unwrap(),
        feature: FeatureKey::parse(pattern).ok().filter(|_| number % 3 > 0),
    });
    RouteTable::new(routes.collect(), Otherwise::Deny, false)
});

fn keyring() -> Keyring {
    Keyring::from_json(KEYS).unwrap()
}

fn is_a_seed(text: &str) -> bool {
    SEEDS.lines().any(|seed| seed == text)
}

/// Only signed content is accepted.
pub fn document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let keyring = keyring();
    let believed = verify_license(text, &keyring).is_ok()
        || verify_denial(text, &keyring).is_ok()
        || verify_release(text, &keyring).is_ok();
    assert!(!believed || is_a_seed(text), "{text}");
}

/// Accepted sets are valid, and only signed sets are followed.
pub fn key_set(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(keyring) = Keyring::from_json(&text) {
        let ids: Vec<String> = keyring.key_ids().map(str::to_owned).collect();
        assert!(!ids.is_empty() && ids.iter().all(|id| !keyring.is_revoked(id)));
    }
    let keyring = keyring();
    assert!(
        follow(&keyring, &text).is_err() || is_a_seed(&text),
        "{text}"
    );
    let chain: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let walk = walk(keyring, &chain);
    assert!(walk.chain.iter().all(|document| is_a_seed(document)));
}

/// Only the vendor confirms or denies, with any status and body.
pub fn contact(data: &[u8]) {
    let (head, body) = data.split_at(data.len().min(2));
    let status = 100 + head.iter().fold(0, |sum, byte| sum + u16::from(*byte));
    let body = body.to_vec();
    let reply = Reply::Answer { status, body };
    let question = Question {
        nonce: "3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        license_key: "FXSGHT-AAAA-BBBB-CCCC-DDDD",
        installation_id: "b5684f06-7c6a-4b44-bfbd-68bd127e7617",
        hardware_id: "42aac9ae7f559498944c2f70daee1d98877b695d52072845a93173f78cf670ae",
        code_hash: None,
        newest_seq: Some(9_000_000),
    };
    let signed = Trust::Keys(keyring());
    for trust in [&Trust::Unsigned, &signed] {
        for judged in [
            ActivateRequest::judge(&reply, &question, trust),
            ValidateRequest::judge(&reply, &question, trust),
            TrialRequest::judge(&reply, &question, trust),
        ] {
            let is_error = !(200..300).contains(&status);
            match &judged {
                Contact::Confirmed(_) => assert!(!is_error),
                Contact::Denied(_) => assert!((200..500).contains(&status)),
                Contact::None(why) => assert!(!why.to_string().is_empty()),
            }
            // The seeds are older than what is known, so none of them counts.
            let counts = matches!(
                judged,
                Contact::Confirmed(_) | Contact::Denied(Denial::Signed(_))
            );
            assert!(matches!(trust, Trust::Unsigned) || !counts);
        }
    }
    let _ = HeartbeatRequest::judge(&reply, &question, &signed);
    let _ = response::key_sets(&reply);
    assert!(!matches!(
        DeactivateRequest::judge(&reply, &question, &signed),
        Contact::Confirmed(_)
    ));
    assert!(!matches!(
        RedeemRequest::judge(&reply, &question, &signed),
        Contact::Confirmed(_)
    ));
}

/// A file is parsed or rejected; a file that was written can be parsed again.
pub fn license_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(request) = OfflineRequest::from_file(&text) {
        assert_eq!(OfflineRequest::from_file(&request.to_file()), Ok(request));
    }
    let reader = Reader {
        installation_id: "i",
        hardware_id: "h",
        pending: &[],
        current: None,
        remembered: &Remembered::default(),
    };
    if let Ok((_, document)) = from_file(&text) {
        assert!(import(&document, &reader, &keyring()).is_err());
    }
}

/// A path is refused, or plain: no spelling remains that a service behind the gate might read
/// differently. Without a method it requires what it requires with one.
pub fn path(data: &[u8]) {
    let any = ROUTES.needs_of_any_method(&mut Effort::default(), data);
    assert!(any.contains(&ROUTES.need("GET", data)));
    assert!(any.contains(&ROUTES.need("QUERY", data)));
    let text = String::from_utf8_lossy(data);
    for raw in [text.to_string(), format!("/{text}")] {
        let Ok(plain) = PlainPath::parse(&raw) else {
            continue;
        };
        for segment in plain.segments() {
            let is_plain = !segment.contains(['/', '\\', ';']);
            let leads_nowhere = !matches!(segment.as_str(), "" | "." | "..");
            assert!(is_plain && leads_nowhere, "{raw:?}: {segment:?}");
            assert!(!segment.chars().any(char::is_control), "{raw:?}");
        }
        // With every byte escaped it is the same path.
        let escaped: String = plain
            .segments()
            .iter()
            .flat_map(|segment| std::iter::once(b'/').chain(segment.bytes()))
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        if escaped.len() < MAX_PATH_BYTES {
            assert_eq!(
                PlainPath::parse(&format!("/{escaped}")),
                Ok(plain),
                "{raw:?}"
            );
        }
    }
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// A setting is accepted, or rejected with a message; its displayed value contains no secret.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut line = text.lines();
    let flags = [
        "--license-api-url",
        "--license-api-timeout",
        "--database-url",
        "--installation-id",
        "--installation-name",
        "--heartbeat-interval-hours",
        "--offline-grace-period-hours",
        "--allow-unlicensed-core-features",
        "--usage-cameras-query",
        "--host",
        "--port",
        "--trusted-networks",
        "--allowed-hosts",
        "--log-format",
    ];
    let Some(flag) = line.next().map(|first| {
        let number = first
            .bytes()
            .fold(0_usize, |sum, byte| sum + usize::from(byte));
        flags[number % flags.len()]
    }) else {
        return;
    };
    let value = line.next().unwrap_or_default();
    let argument = format!("{flag}={value}");
    match Line::try_parse_from(["license-client", &argument]) {
        Ok(line) => {
            let shown = format!("{} {:?}", line.settings.database(), line.settings);
            assert!(!shown.is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
