use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::clock::ManualClock;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const SESSION: &str = "a_session";
const TOKEN: &str = "0123456789abcdef";

fn sessions() -> (Sessions, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
    let token = AdminToken::new(&TOKEN.into());
    (Sessions::new(SESSION, Some(token), clock.clone()), clock)
}

fn sent(name: &str) -> HeaderMap {
    let value = format!("other=1; {SESSION}={name}").parse().unwrap();
    HeaderMap::from_iter([(header::COOKIE, value)])
}

/// A name for a session that is stored elsewhere, and its id.
fn new_name(sessions: &Sessions) -> Option<(String, String)> {
    Some(SealedName::create(&sessions.token?, None))
}

/// The ids of the names in a request that were sealed with the token.
fn sealed_ids(sessions: &Sessions, headers: &HeaderMap) -> BTreeSet<String> {
    let names = sessions.sealed_names(headers);
    let is_ours = |name: &SealedName<'_>| {
        let token = sessions.token.as_ref();
        token.is_some_and(|token| name.is_sealed_with(token))
    };
    names.filter(is_ours).map(|name| name.id()).collect()
}

#[test]
fn a_session_goes_on_while_it_is_used_and_not_for_ever() {
    let (sessions, clock) = sessions();
    let headers = sent(&sessions.begin());
    assert!(!sessions.touch(&HeaderMap::new()));
    for step in 1..=36 {
        clock.advance(TimeDelta::minutes(20));
        assert_eq!(
            sessions.touch(&headers),
            step < 36,
            "after {} min",
            step * 20
        );
    }
    // An open page does not count as activity.
    let headers = sent(&sessions.begin());
    let mut refresh = headers.clone();
    refresh.insert(REFRESH, HeaderValue::from_static("1"));
    for minute in 1..=30 {
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(sessions.touch(&refresh), minute < 30);
    }
    assert!(!sessions.touch(&headers));
}

#[test]
fn an_ended_session_is_over_and_a_name_that_nobody_gave_is_none() {
    let (sessions, clock) = sessions();
    let name = sessions.begin();
    let others = Sessions::new("another_service", None, clock);
    assert!(!sessions.touch(&sent("AAAA")));
    assert!(!others.touch(&sent(&name)));
    assert!(sessions.touch(&sent(&name)));
    let _ = sessions.end(&sent(&name));
    assert!(!sessions.touch(&sent(&name)));
}

#[test]
fn a_shared_session_ends_when_idle_after_twelve_hours_and_with_another_token() {
    let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
    let ago = |minutes| now - TimeDelta::minutes(minutes);
    for (begun, used, is_valid) in [
        (0, 0, true),
        (719, 29, true),
        (719, 30, false),
        (720, 0, false),
        (-10, -10, true),
        (-11, 0, false),
        (0, -11, false),
    ] {
        let session = SessionTimes {
            begun: ago(begun),
            used: ago(used),
        };
        assert_eq!(session.is_valid(now), is_valid, "{begun} {used}");
    }
    let (sessions, clock) = sessions();
    let (name, id) = new_name(&sessions).unwrap();
    let ids = |sessions: &Sessions, name: &str| -> Vec<String> {
        sealed_ids(sessions, &sent(name)).into_iter().collect()
    };
    assert_eq!(ids(&sessions, &name), [id]);
    let twin = Sessions::new(SESSION, sessions.token, clock.clone());
    assert_eq!(
        ids(&twin, &name).len(),
        1,
        "another process with this token"
    );
    let other = AdminToken::new(&"another-token-of-16".into());
    let other = Sessions::new(SESSION, Some(other), clock.clone());
    assert_eq!(ids(&other, &name), [""; 0]);
    let nobody = Sessions::new(SESSION, None, clock);
    assert_eq!((ids(&nobody, &name), new_name(&nobody)), (vec![], None));
    let (nonce, code) = name.split_once('.').unwrap();
    let cut = format!("{nonce}.{}", &code[..42]);
    for forged in [
        nonce,
        &cut,
        ".",
        "",
        &format!("x{name}"),
        &format!("{nonce}."),
    ] {
        assert_eq!(ids(&sessions, forged), [""; 0], "{forged}");
    }
}

#[test]
fn only_wrong_tokens_have_to_wait() {
    let (sessions, clock) = sessions();
    let none = HeaderMap::new();
    let sign_in = |shown: &str| sessions.sign_in(shown, PEER, &none).map(|_| ());
    for _ in 0..100 {
        assert_eq!(sign_in(""), Err(SignInError::WrongToken));
    }
    for _ in 0..MAX_FAILURES {
        assert_eq!(sign_in("wrong"), Err(SignInError::WrongToken));
    }
    assert_eq!(sign_in("wrong"), Err(SignInError::TooMany));
    assert_eq!(sign_in(TOKEN), Ok(()));
    assert_eq!(sign_in("wrong"), Err(SignInError::TooMany));
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(sign_in("wrong"), Err(SignInError::WrongToken));
    let without = Sessions::new(SESSION, None, clock);
    let error = without.sign_in("", PEER, &none).unwrap_err();
    assert_eq!(error, SignInError::WrongToken);
}

#[test]
fn failures_count_by_network_and_by_door_and_are_bounded() {
    let (sessions, _) = sessions();
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let note = |door, from: &str| sessions.note_failure(door, address(from));
    for host in 1..=MAX_FAILURES {
        assert!(note(Door::Api, &format!("2001:db8::{host}")));
    }
    assert!(!note(Door::Api, "2001:db8::ffff"), "one network");
    assert!(note(Door::Api, "2001:db8:0:1::1"));
    assert!(note(Door::Console, "2001:db8::1"), "another door");
    for number in 0..1000 {
        note(
            Door::Api,
            &format!("10.0.{}.{}", number / 250, number % 250),
        );
    }
    assert!(!note(Door::Api, "192.0.2.1"), "all of them together");
    assert!(note(Door::Console, "192.0.2.1"));
    assert!(sessions.lock().failures.len() <= 2 * MAX_FAILURES_OF_ALL);
    let right = sessions.sign_in(TOKEN, address("2001:db8::1"), &HeaderMap::new());
    assert!(right.is_ok());
}

#[test]
fn no_script_and_no_other_page_gets_the_cookie_and_tls_keeps_it() {
    let (sessions, _) = sessions();
    let headers = |pairs: &[(&'static str, &'static str)]| {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::from_static(value);
            (axum::http::HeaderName::from_static(name), value)
        });
        HeaderMap::from_iter(pairs)
    };
    for (host, cookie) in [
        ("vms.example", "a_session"),
        ("vms.example:8443", "a_session_8443"),
        ("127.0.0.1:8000", "a_session_8000"),
        ("[::1]:8000", "a_session_8000"),
        ("[::1]", "a_session"),
    ] {
        let plain = sessions.cookie("name", &headers(&[("host", host)]));
        let expected = format!("{cookie}=name; Path=/; HttpOnly; SameSite=Strict");
        assert_eq!(plain, expected.as_str());
        let by_tls = headers(&[("host", host), ("x-forwarded-proto", "https")]);
        let secure = sessions.cookie("name", &by_tls);
        assert_eq!(secure, format!("{expected}; Secure").as_str());
    }
}

#[test]
fn services_on_several_ports_of_a_host_have_their_own_sessions() {
    let (sessions, _) = sessions();
    let name = sessions.begin();
    let mut headers = HeaderMap::new();
    let cookies = format!("a_session_8001=other; a_session_8000={name}");
    headers.insert(header::COOKIE, cookies.parse().unwrap());
    for (host, touch) in [("localhost:8000", true), ("localhost:8001", false)] {
        headers.insert(header::HOST, HeaderValue::from_static(host));
        assert_eq!(sessions.touch(&headers), touch, "{host}");
    }
}

#[test]
fn there_are_never_too_many() {
    let (sessions, clock) = sessions();
    let first = sent(&sessions.begin());
    for _ in 1..=100 {
        clock.advance(TimeDelta::seconds(1));
        sessions.begin();
    }
    assert!(!sessions.touch(&first));
    assert_eq!(sessions.lock().sessions.len(), MAX_SESSIONS);
}

#[test]
fn of_several_proxies_the_first_says_what_the_browser_speaks() {
    let (sessions, _) = sessions();
    let name = sessions.begin();
    for (schemes, is_secure) in [
        ("https", true),
        ("https, http", true),
        ("HTTPS ,http", true),
        ("http", false),
        ("http, https", false),
        ("", false),
    ] {
        let value = HeaderValue::from_static(schemes);
        let headers = HeaderMap::from_iter([("x-forwarded-proto".parse().unwrap(), value)]);
        let cookie = sessions.cookie(&name, &headers);
        let cookie = cookie.to_str().unwrap();
        assert_eq!(
            cookie.contains("; Secure"),
            is_secure,
            "{schemes}: {cookie}"
        );
    }
}

#[test]
fn a_session_is_found_and_ended_behind_any_number_of_other_cookies() {
    let wrong = format!("{SESSION}={}; ", "A".repeat(NAME_CHARS));
    let sealed = format!("{SESSION}={}.{}; ", "A".repeat(43), "B".repeat(43));
    // As many as fit into a request head, and one with bytes that no text has.
    for (other, count) in [
        ("other=1; ", 5000),
        (&*wrong, 1000),
        (&*sealed, 500),
        ("other=\u{e9}; ", 1),
    ] {
        let (sessions, _) = sessions();
        let after = |name: &str| {
            let value = format!("{}{SESSION}={name}", other.repeat(count));
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            HeaderMap::from_iter([(header::COOKIE, value)])
        };
        let (first, second) = (sessions.begin(), sessions.begin());
        assert!(sessions.touch(&after(&first)), "{other}");
        // In one request with an earlier session.
        let both = after(&format!("{second}; {SESSION}={first}"));
        let _ = sessions.end(&both);
        assert!(!sessions.touch(&sent(&first)), "{other}");
        assert!(!sessions.touch(&sent(&second)), "{other}");
        let (name, id) = new_name(&sessions).unwrap();
        assert_eq!(sealed_ids(&sessions, &after(&name)), [id].into(), "{other}");
    }
}
