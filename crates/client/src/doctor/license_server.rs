//! Can the License Server be reached, by name, through the proxy and TLS, and
//! do its clock and ours agree?

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use license_core::protocol::KEYS;
use license_service::clock::Clock;
use license_service::presentable_url::presentable_path;
use reqwest::header::DATE;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::{Examiner, Finding};
use crate::certificate_file;
use crate::config::Settings;
use crate::failed_request::{CauseKind, cause};
use crate::proxy::sign_in::ProxySignIn;
use crate::system_authorities::SystemAuthorities;
use crate::tunnel::TunnelAnswer;
use crate::upstream::{MAX_ANSWER_BYTES, UpstreamError, license_server_client};

const WHAT: &str = "License Server";
/// Maximum difference of the clocks that is not reported.
const TOLERATED: TimeDelta = TimeDelta::minutes(5);
/// Timeout of a name server.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn check(
    settings: &Settings,
    clock: &dyn Clock,
    examiner: Examiner<'_>,
) -> Vec<Finding> {
    let mut findings = route(settings);
    findings.extend(authorities(settings));
    findings.push(name(settings).await);
    match ask(settings, examiner).await {
        Ok(answer) => {
            let time = time(&answer, clock);
            findings.push(answered(settings, answer).await);
            findings.push(time);
        }
        Err(finding) => findings.push(finding),
    }
    findings
}

/// The route that calls take, determined in the same way as by the calls themselves.
fn route(settings: &Settings) -> Vec<Finding> {
    const WHAT: &str = "proxy";
    let route = settings.proxies.route(settings.license_api_url.expose());
    let mut found = match route {
        Ok(route) => format!("the License Server is contacted {route}"),
        Err(error) => {
            let advice = "correct the variable, or unset it to call the License Server directly";
            return vec![Finding::error(WHAT, error.to_string(), advice)];
        }
    };
    let shown = settings.proxies.shown();
    if shown.is_empty() {
        found.push_str("; no proxy is set");
    } else {
        found.push_str(&format!("; {}", shown.join(", ")));
    }
    let mut findings = vec![Finding::ok(WHAT, found)];
    let unreadable = settings.proxies.unreadable();
    if !unreadable.is_empty() {
        findings.push(Finding::warning(
            "NO_PROXY",
            format!("entries that match nothing: {}", unreadable.join(", ")),
            "valid entries are *, and hosts, .domains, addresses and networks such as 10.0.0.0/8, \
             each with or without :port",
        ));
    }
    findings
}

/// Which authorities may sign the License Server's certificate.
fn authorities(settings: &Settings) -> Option<Finding> {
    const WHAT: &str = "certificate authorities";
    if settings.license_api_url.expose().scheme() != "https" {
        return None;
    }
    let system = SystemAuthorities::read();
    let untrusting = system.untrusting();
    if let (None, Some(none)) = (&settings.license_ca_file, &untrusting)
        && none.is_certain
    {
        return Some(Finding::error(WHAT, &none.what, none.advice));
    }
    // A site may trust exactly these on purpose.
    let of_system = match untrusting {
        None => format!("{} of this system", system.count()),
        Some(found) => found.what,
    };
    Some(match &settings.license_ca_file {
        Some(file) => {
            let file = presentable_path(file);
            Finding::ok(WHAT, format!("the certificates in '{file}'; {of_system}"))
        }
        None => Finding::ok(WHAT, of_system),
    })
}

async fn name(settings: &Settings) -> Finding {
    const WHAT: &str = "name";
    let url = settings.license_api_url.expose();
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let looking_up = tokio::net::lookup_host((host.trim_matches(['[', ']']), port));
    let Ok(found) = tokio::time::timeout(LOOK_UP_TIMEOUT, looking_up).await else {
        let seconds = LOOK_UP_TIMEOUT.as_secs();
        let why = format!("the name server has not answered within {seconds} s");
        return unknown(WHAT, host, &why);
    };
    match found.map(|addresses| addresses.map(|a| a.ip().to_string()).collect::<Vec<_>>()) {
        Ok(addresses) if !addresses.is_empty() => {
            Finding::ok(WHAT, format!("{host} is {}", addresses.join(", ")))
        }
        Ok(_) => unknown(WHAT, host, "no address"),
        Err(error) => unknown(WHAT, host, &error.to_string()),
    }
}

fn unknown(what: &'static str, host: &str, why: &str) -> Finding {
    Finding::warning(
        what,
        format!("cannot resolve {host}: {why}"),
        "check LICENSE_API_URL and this machine's DNS; a proxy may still be able to resolve the \
         name",
    )
}

/// Uses the client of the running service's own calls, because its results are the relevant ones.
async fn ask(settings: &Settings, examiner: Examiner<'_>) -> Result<Response, Finding> {
    let url = &settings.license_api_url;
    let broken = |error: reqwest::Error| {
        let why = cause(&error, url.expose());
        let advice = match why.kind {
            CauseKind::Certificate => {
                "if a proxy intercepts TLS, add its certificate authority to LICENSE_CA_FILE; a \
                 wrong clock can also be the cause"
            }
            CauseKind::Handshake => {
                "check LICENSE_API_URL and the TLS settings of the License Server or of the proxy \
                 in front of it"
            }
            CauseKind::Head => {
                "check whether the response comes from the License Server or from a proxy in front \
                 of it"
            }
            CauseKind::Connection if error.is_timeout() => {
                "a firewall may be blocking the connection: allow this machine to call the License \
                 Server, or set HTTPS_PROXY"
            }
            CauseKind::Connection => "check LICENSE_API_URL, the network, and the proxy",
        };
        let found = match why.kind {
            CauseKind::Head => format!("{url} sent a response that cannot be read: {}", why.text),
            _ => format!("{url} cannot be reached: {}", why.text),
        };
        Finding::error(WHAT, found, advice)
    };
    let client = match examiner {
        Examiner::Service(app) => app.upstream.client().await,
        Examiner::Command => client(settings, broken)?,
    };
    let base = settings
        .license_api_url
        .expose()
        .as_str()
        .trim_end_matches('/');
    let error = match client.get(format!("{base}{KEYS}")).send().await {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let tunnel = TunnelAnswer::ask(&client, &settings.proxies, url.expose(), &error).await;
    Err(match tunnel {
        Some(tunnel) => {
            let found = format!("{url} cannot be reached: {}", tunnel.what());
            Finding::error(WHAT, found, tunnel.advice())
        }
        None => broken(error),
    })
}

fn client(
    settings: &Settings,
    broken: impl FnOnce(reqwest::Error) -> Finding,
) -> Result<reqwest::Client, Finding> {
    let url = &settings.license_api_url;
    let listed = match &settings.license_ca_file {
        None => None,
        Some(file) => Some(certificate_file::read(file).map_err(|error| {
            let found = format!("'{}' cannot be read: {error}", presentable_path(file));
            let advice = "set LICENSE_CA_FILE to a file that contains PEM or DER certificates";
            Finding::error("LICENSE_CA_FILE", found, advice)
        })?),
    };
    let (timeout, proxies) = (settings.license_api_timeout, &settings.proxies);
    let client = license_server_client(url, timeout, listed.as_deref(), None, proxies);
    client.map_err(|error| match error {
        UpstreamError::Client(error) => broken(error),
        other => {
            let advice = "set LICENSE_CA_FILE to a file that contains PEM certificates, and \
                          correct the proxy variables";
            Finding::error(WHAT, other.to_string(), advice)
        }
    })
}

async fn answered(settings: &Settings, answer: Response) -> Finding {
    let url = &settings.license_api_url;
    let status = answer.status();
    let (proxies, headers) = (&settings.proxies, answer.headers());
    if let Some(demanded) = ProxySignIn::demanded(proxies, url.expose(), status, headers) {
        let found = format!("{url} cannot be reached: {}", demanded.what());
        return Finding::error(WHAT, found, demanded.advice());
    }
    let signed = settings.license_trusted_keys.is_some();
    let publishes_keys = status.is_success() && publishes_keys(answer).await;
    if publishes_keys && signed {
        return Finding::ok(WHAT, format!("{url} responds and publishes its keys"));
    }
    if publishes_keys {
        return Finding::warning(
            WHAT,
            format!("{url} responds and publishes its keys, but its responses are not verified"),
            "set LICENSE_TRUSTED_KEYS to the vendor's public keys",
        );
    }
    let advice = format!(
        "the response may come from something other than a License Server, such as a proxy, a \
         sign-in page or another service: {}",
        what_to_check(settings, status)
    );
    let found = match status.as_u16() {
        404 => format!(
            "{url} responds with HTTP 404 where a License Server publishes its keys: it does not \
             sign its responses, or it is not a License Server"
        ),
        _ if status.is_success() => {
            format!("{url} responds, but not as a License Server: it does not publish keys as JSON")
        }
        _ => format!("{url} responds with HTTP {status}"),
    };
    // A server that does not sign need not publish keys.
    let may_do = !signed && (status.is_success() || status.as_u16() == 404);
    match may_do {
        true => Finding::warning(WHAT, found, advice),
        false => Finding::error(WHAT, found, advice),
    }
}

/// The most likely mistake in the address.
fn what_to_check(settings: &Settings, status: StatusCode) -> &'static str {
    let url = settings.license_api_url.expose();
    let path = url.path().trim_end_matches('/');
    // Web servers answer a request without TLS on a port for TLS like this.
    if url.scheme() == "http" && status == StatusCode::BAD_REQUEST {
        "LICENSE_API_URL may have to begin with https://"
    } else if path.ends_with("/licenses") {
        "remove /licenses from the end of LICENSE_API_URL, which must contain only the part before \
         /licenses"
    } else if path.is_empty() {
        "LICENSE_API_URL must be the part of the URL before /licenses, which usually ends with /api"
    } else {
        "check LICENSE_API_URL: it must be the part of the URL before /licenses"
    }
}

/// Whether a response contains the keys of a License Server: JSON with a list of keys, or of signed
/// key sets.
async fn publishes_keys(mut answer: Response) -> bool {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return false;
        }
    }
    let keys: Value = serde_json::from_slice(&body).unwrap_or_default();
    keys["keys"].is_array() || keys["chain"].is_array()
}

fn time(answer: &Response, clock: &dyn Clock) -> Finding {
    const WHAT: &str = "clock";
    let date = answer.headers().get(DATE).and_then(|d| d.to_str().ok());
    let Some(theirs) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) else {
        return Finding::ok(WHAT, "the License Server does not report its time");
    };
    let ahead = clock.now() - theirs.to_utc();
    if ahead.abs() <= TOLERATED {
        return Finding::ok(WHAT, "the clock agrees with the License Server's");
    }
    let (minutes, word) = (
        ahead.num_minutes().abs(),
        if ahead > TimeDelta::zero() {
            "ahead of"
        } else {
            "behind"
        },
    );
    Finding::warning(
        WHAT,
        format!("the clock is {minutes} min {word} the License Server's"),
        "set the clock, and keep it synchronized with NTP: licenses and grace periods depend on it",
    )
}
