//! Names of tokens that could be mistaken for another author.

use crate::audit::BREAK_GLASS;

/// Authors that are not tokens, and what people take for one.
const RESERVED: [&str; 7] = [
    BREAK_GLASS,
    "command-line",
    "administrator",
    "console",
    "service",
    "site",
    "migration",
];

/// Whether a name is that of an author that is not a token, or looks like it.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let appearance = appearance(name);
    RESERVED.iter().any(|it| self::appearance(it) == appearance)
}

/// The same for names that people confuse: without case and punctuation, and with one letter for
/// those that look alike.
fn appearance(name: &str) -> String {
    let letters: String = name
        .chars()
        .flat_map(char::to_lowercase)
        .filter(|c| c.is_alphanumeric())
        .map(|c| match c {
            '0' => 'o',
            '1' | 'i' | 'j' => 'l',
            '2' => 'z',
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '7' => 't',
            '8' => 'b',
            '6' | '9' | 'q' => 'g',
            c => c,
        })
        .collect();
    letters
        .replace("rn", "m")
        .replace("vv", "w")
        .replace("cl", "d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_like_another_author_are_reserved() {
        for reserved in [
            "break-glass",
            "break_glass",
            "breakglass",
            "br3ak-g1ass",
            "break-gla55",
            "8reak.glass",
            "break-giass",
            "command-line",
            "command_line",
            "cornmand-line",
            "administrator",
            "adrninistrator",
            "adm1n1strat0r",
            "con-sole",
            "c0nsole",
            "consoie",
            "service",
            "serv1ce",
            "5ervice",
            "site",
            "s1te",
            "slte",
            "s.i.t.e",
            "Site",
            "migration",
            "m1grat10n",
            "rnigration",
        ] {
            assert!(is_reserved(reserved), "{reserved}");
        }
    }

    #[test]
    fn other_names_are_free() {
        for free in [
            "ana",
            "shop",
            "sites",
            "services",
            "site-reader",
            "console-lisbon",
            "glass",
            "line",
            "admin",
            "migrations",
        ] {
            assert!(!is_reserved(free), "{free}");
        }
    }
}
