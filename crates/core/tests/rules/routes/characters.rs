//! Paths with characters outside ASCII, each of which a service may drop or replace.

use std::fmt::Write as _;

use license_core::route::{Otherwise, Route, RouteTable};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{need, route};

fn routes() -> Vec<Route> {
    vec![
        route(&[], "/api/alarms/**", Some("alarms")),
        route(&[], "/api/kameras/*/export", Some("export")),
        route(&[], "/api/kameras/**", None),
        route(&[], "/recordings/**", None),
        route(&[], "/caf\u{e9}/**", Some("cafe")),
    ]
}

/// Paths that a service may read as `/api/alarms`.
const GATED: &[&str] = &[
    // Some characters are replaced, and others dropped.
    "/api/%C3%A1larms%C3%9F/1",
    "/%C3%A1pi/alarms%C2%AD/1",
    "/api/%C3%A1larms%C3%9F;x",
    "/api/%25C3%25A1larms%25C3%259F",
    "/api%EF%BC%8F%C3%A1larms%C3%9F",
    "/%EF%BD%81pi/al%C2%ADarms",
    "/api/%EF%BD%81larms%E9%97%A8",
    "/api/%C3%A1l%D0%B0rms%C3%9F%E2%80%8B",
    "/api/\u{ff41}l\u{e1}rms\u{df}",
    "/x/%EF%BC%8E%C3%9F%EF%BC%8E/api/%C3%A1larms",
    "/x/.%C3%9F%EF%BC%8E/%C3%A1pi/al%C2%ADarms",
    "/%C3%9F%C2%AD/api/%C3%A1larms",
    "/%C3%9F/host/api/%C3%A1larms%C2%AD",
    "/api/%C3%A1larms%C2%AD.%20",
    "/api/%C3%A1larms%C3%9F%EF%BC%9Bx",
    "/api/%C3%A1larms%C3%9F%EF%BC%9Fx",
    "/api%E2%88%95%C3%A1larms%C2%AD",
    // Lenient decoders.
    "/api/al%u200barms",
    "/api/al%u00adarms",
    "/api/%uff41larms%u00df",
    "/api/%c1%a1l%C2%ADarms",
    "/api/%c1%21larms",
    "/api/%c1!larms",
    "/api/%e0%41%21larms",
    "/api/%25c1%2521larms",
    "/api/%C3%A1l%FFarms%C3%9F",
    "/api%c0/%c1%21larms",
    "/api/%c5%21larms",
    // Escapes that appear when characters are dropped or replaced.
    "/api/%\u{ad}61larms",
    "/api/\u{ff05}61larms",
    "/api/\u{ff05}\u{ff16}\u{ad}1larms",
    "/api/\u{ff05}25\u{ad}61larms",
    "/api/%\u{ad}u0061larms",
    "/api/\u{ff05}C3\u{ff05}A1larms",
    // Transliteration, letters that look alike, and hyphens.
    "/api/%D0%B0larms",
    "/api/al%D0%B0%D1%80%D0%BC%D1%95",
    "/api/%D0%B0%D0%BB%D0%B0%D1%80%D0%BC%D1%81",
    "/api/\u{3b1}\u{3bb}\u{3ac}\u{3c1}\u{3bc}\u{3c2}",
    "/api/\u{251}larms",
    // The low byte, and bytes in the character set of Western Europe.
    "/api/%C5%A1larms",
    "/api%C4%AFalarms",
    "/api/\u{661}\u{76c}arms",
    "/api%E6%9C%AFalarms",
    "/x/\u{12e}\u{12e}/api/alarms",
    "/api/%E1%80%80larms",
];

#[test]
fn a_path_is_refused_if_any_combination_of_its_characters_is_gated() {
    for otherwise in [Otherwise::Allow, Otherwise::Deny] {
        for ignore_case in [false, true] {
            let table = RouteTable::new(routes(), otherwise, ignore_case);
            for path in GATED {
                assert_eq!(need(&table, "GET", path), "Ambiguous", "{path}");
            }
        }
    }
    let table = RouteTable::new(routes(), Otherwise::Allow, true);
    for path in ["/API/%C3%81LARMS%C3%9F", "/%D0%90PI/AL%C2%ADARMS"] {
        assert_eq!(need(&table, "GET", path), "Ambiguous", "{path}");
    }
}

#[test]
fn ordinary_names_are_answered_by_their_routes() {
    // A feature for everything else: the routes before it decide with certainty.
    let mut with_rest = routes();
    with_rest.push(route(&[], "/**", Some("base")));
    let with_rest = RouteTable::new(with_rest, Otherwise::Allow, false);
    let allow = RouteTable::new(routes(), Otherwise::Allow, false);
    let deny = RouteTable::new(routes(), Otherwise::Deny, false);
    for (path, expected) in [
        ("/api/kameras/\u{dc}bersicht", "-"),
        ("/api/kameras/Stra%C3%9Fe-7", "-"),
        ("/api/kameras/Stra\u{df}e-7/live", "-"),
        ("/api/kameras/\u{5165}\u{53e3}", "-"),
        (
            "/api/kameras/\u{30ab}\u{30e1}\u{30e9}\u{ff11}/\u{6771}\u{ff0f}\u{897f}",
            "-",
        ),
        ("/api/kameras/\u{6280}\u{672f}\u{90e8}/live", "-"),
        ("/api/kameras/%D0%9A%D0%B0%D0%BC%D0%B5%D1%80%D0%B0%207", "-"),
        ("/api/kameras/\u{c785}\u{ad6c}/live", "-"),
        ("/api/kameras/\u{5165}\u{53e3}/export", "export"),
        ("/api/kameras/Stra%C3%9Fe-7/export", "export"),
        ("/api/kameras/caf%E9/live", "-"),
        (
            "/recordings/2026-11-28/Z%C3%BCrich%20\u{2026}%20\u{bd}.mp4",
            "-",
        ),
        (
            "/recordings/v1.2/\u{ff21}\u{ff22}\u{ff0f}\u{95e8}\u{ff1f}.mp4",
            "-",
        ),
        ("/recordings/100%25%20\u{e9}t\u{e9}.mp4", "-"),
        ("/recordings/\u{43c}\u{430}\u{440}\u{442}/\u{e9}", "-"),
        ("/api/alarms/\u{dc}bersicht", "alarms"),
        ("/api/alarms/%E9%97%A8", "alarms"),
    ] {
        for table in [&with_rest, &allow, &deny] {
            assert_eq!(need(table, "GET", path), expected, "{path}");
        }
    }
    for path in [
        "/api/alarme/\u{dc}bersicht",
        "/\u{dc}bersicht/1",
        "/\u{5165}\u{53e3}",
    ] {
        assert_eq!(need(&allow, "GET", path), "-", "{path}");
        assert_eq!(need(&deny, "GET", path), "unlisted", "{path}");
        assert_eq!(need(&with_rest, "GET", path), "base", "{path}");
    }
    // A service that drops the last letter needs nothing.
    assert_eq!(need(&allow, "GET", "/caf%C3%A9/x"), "cafe");
    assert_eq!(need(&with_rest, "GET", "/caf%C3%A9/x"), "Ambiguous");
}

/// What may stand for a letter, or for a slash.
fn stands_for(letter: char) -> &'static [&'static str] {
    match letter {
        'a' => &[
            "\u{e1}", "\u{ff41}", "\u{430}", "\u{3b1}", "\u{161}", "a\u{301}", "\u{aa}",
        ],
        'p' => &["\u{ff50}", "\u{440}", "\u{1e57}", "\u{170}"],
        'i' => &["\u{ed}", "\u{131}", "\u{456}", "\u{2170}"],
        'l' => &["\u{142}", "\u{13a}", "\u{43b}", "\u{ff4c}"],
        'r' => &["\u{159}", "\u{1d63}", "\u{440}"],
        'm' => &["\u{43c}", "\u{ff4d}", "\u{1e41}"],
        's' => &["\u{15d}", "\u{17f}", "\u{455}", "\u{441}"],
        '/' => &["\u{ff0f}", "\u{2044}", "\u{2215}", "\u{12f}"],
        _ => &[],
    }
}

fn escaped(text: &str, rounds: u8) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        let percent_sign = ["%", "%25"][usize::from(rounds > 1)];
        match (byte.is_ascii(), rounds) {
            (true, _) => path.push(char::from(byte)),
            (false, _) => write!(path, "{percent_sign}{byte:02X}").unwrap(),
        }
    }
    path
}

proptest! {
    /// A gated path is never treated as an open one, regardless of the characters that stand for its
    /// letters and of those that are dropped.
    #[test]
    fn any_combination_of_characters_that_is_gated_is_refused(
        letters in prop::collection::vec((any::<bool>(), any::<Index>()), 11),
        dropped in prop::collection::vec((any::<Index>(), select(vec![
            "\u{ad}", "\u{200b}", "\u{df}", "\u{95e8}", "\u{fe0f}", "\u{301}", "\u{43e}",
        ])), 0..4),
        rounds in 1..3_u8,
        end in select(vec!["", "/1", ";x", "?x", "/", "."]),
    ) {
        let mut parts: Vec<&str> = Vec::new();
        for (at, letter) in "/api/alarms".char_indices() {
            let (is_replaced, index) = letters[at];
            let others = stands_for(letter);
            parts.push(match is_replaced && at > 0 && !others.is_empty() {
                true => others[index.index(others.len())],
                false => &"/api/alarms"[at..=at],
            });
        }
        for (place, dropped) in dropped {
            parts.insert(1 + place.index(parts.len()), dropped);
        }
        let path = escaped(&parts.concat(), rounds) + end;
        let table = RouteTable::new(routes(), Otherwise::Allow, false);
        let found = need(&table, "GET", &path);
        let refused = ["alarms", "Ambiguous", "TooAmbiguous"];
        prop_assert!(refused.contains(&found.as_str()), "{path}: {found}");
    }
}
