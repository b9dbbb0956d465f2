use super::*;
use crate::key_form::ALPHABET;
use crate::pasted_text::OddCharacters;

#[test]
fn pasted_text_is_sent_as_the_intended_key() {
    let key = "FXSGHT-AAAA-BBBB-CCCC-DDDD";
    for text in [
        key,
        "  fxsght-aaaa-bbbb-cccc-dddd\n",
        "FXSGHTAAAABBBBCCCCDDDD",
        "fxsght aaaa bbbb cccc dddd",
        "FXSGHT–AAAA—BBBB‑CCCC−DDDD",
        "Your license key: FXSGHT-AAAA-BBBB-CCCC-DDDD (Harbour Ltd)",
    ] {
        assert_eq!(normalize(text), key, "{text}");
    }
    for other in ["", "ACME-1", "FXSGHT-AAAA"] {
        assert_eq!(normalize(&format!(" {other} ")), other);
    }
}

fn key() -> LicenseKey {
    LicenseKey::from_random(&[7, 99, 3, 200, 41, 0, 30, 31, 247, 5, 6, 77, 8, 9, 10]).unwrap()
}

#[test]
fn a_key_is_read_back_in_any_spelling() {
    let key = key();
    let spelled = key.as_str().to_lowercase().replace('-', " ");
    assert_eq!(LicenseKey::parse(key.as_str()), Ok(key.clone()));
    assert_eq!(LicenseKey::parse(&format!("  {spelled} ")), Ok(key.clone()));
    assert_eq!(LicenseKey::parse(&key.as_str()[7..]), Ok(key));
}

#[test]
fn every_single_wrong_character_is_detected() {
    let key = key();
    for (index, right) in key.as_str().char_indices().skip(7) {
        if right == '-' {
            continue;
        }
        for wrong in ALPHABET.iter().map(|a| char::from(*a)) {
            let mut text = key.as_str().to_owned();
            text.replace_range(index..=index, &wrong.to_string());
            let read = LicenseKey::parse(&text);
            if wrong == right {
                assert_eq!(read, Ok(key.clone()));
            } else {
                assert_eq!(read, Err(LicenseKeyError::CheckCharacter), "{text}");
            }
        }
    }
}

#[test]
fn every_swap_of_two_characters_is_detected() {
    let key = key();
    let chars: Vec<char> = key.as_str().chars().collect();
    for i in 7..chars.len() {
        for j in i + 1..chars.len() {
            if chars[i] == chars[j] || chars[i] == '-' || chars[j] == '-' {
                continue;
            }
            let mut swapped = chars.clone();
            swapped.swap(i, j);
            let text: String = swapped.into_iter().collect();
            assert_eq!(
                LicenseKey::parse(&text),
                Err(LicenseKeyError::CheckCharacter)
            );
        }
    }
}

#[test]
fn other_texts_are_rejected_with_a_reason() {
    let form = || Err(LicenseKeyError::Form(OddCharacters::default()));
    assert_eq!(LicenseKey::parse(""), form());
    assert_eq!(
        LicenseKey::parse("FXSGHT-AAAA-BBBB-CCCC-DDD0"),
        Err(LicenseKeyError::Alphabet('0'))
    );
    assert_eq!(LicenseKey::parse("FXSGHT-AAAA-BBBB-CCCC-DDDD-EEEE"), form());
}

/// Keys as changed by mail programs, word processors and input methods.
fn disfigured(key: &str) -> Vec<String> {
    let wide = |c: char| char::from_u32(u32::from(c) + 0xfee0).unwrap();
    let between = |sign: &str| {
        let chars: Vec<String> = key.chars().map(String::from).collect();
        chars.join(sign)
    };
    let mut texts = vec![
        key.chars().map(wide).collect(),
        key.to_lowercase().chars().map(wide).collect(),
        key.replace('-', "\u{3000}"),
        key.replace('-', "--"),
        key.replace('-', ""),
        key.replace('-', " – "),
        key.replace('-', "\r\n"),
        format!("key={key}"),
        format!("Key:{key}."),
        format!("Your key is {key}. Thank you!"),
        format!("Your key is\n\n    {key}\n\nKind regards, sales 2026"),
        format!("Ihr Schlüssel: <b>{key}</b>, gültig bis 31.12.2027"),
        format!("{key} (also {})", key.to_lowercase()),
        format!("https://vendor.example/activate?key={key}&x=1"),
        format!("your key {} is ready", &key[7..]),
    ];
    for dash in "\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}\u{fe58}\u{fe63}\u{ff0d}\u{30fc}\u{ff70}\u{ad}".chars() {
        texts.push(key.replace('-', &dash.to_string()));
    }
    for invisible in [
        "\u{200b}", "\u{feff}", "\u{200d}", "\u{2060}", "\u{ad}", "\u{202e}", "\0",
    ] {
        texts.push(format!("{invisible}{key}{invisible}"));
        texts.push(between(invisible));
    }
    for (open, close) in [
        ("\"", "\""),
        ("'", "'"),
        ("`", "`"),
        ("“", "”"),
        ("„", "“"),
        ("«", "»"),
        ("‘", "’"),
        ("『", "』"),
        ("(", ")"),
        ("[", "]"),
        ("<", ">"),
        (" \t", "\r\n"),
        ("\u{a0}", "\u{a0}"),
    ] {
        texts.push(format!("{open}{key}{close}"));
    }
    texts
}

#[test]
fn a_key_is_read_from_mail_and_documents() {
    for bytes in [[1; 15], [30; 15], [7; 15]] {
        let key = LicenseKey::from_random(&bytes).unwrap();
        for text in disfigured(key.as_str()) {
            assert_eq!(LicenseKey::parse(&text), Ok(key.clone()), "{text:?}");
            assert_eq!(normalize(&text), key.as_str(), "{text:?}");
            let shown = mask_within(&text, "");
            assert!(
                !shown.to_uppercase().contains(&key.as_str()[12..21]),
                "{shown:?}"
            );
        }
    }
}

#[test]
fn only_a_single_complete_key_is_taken_from_a_text() {
    let [one, other] = [[1; 15], [2; 15]].map(|it| LicenseKey::from_random(&it).unwrap());
    let several = LicenseKey::parse(&format!("{one} or {other}"));
    assert_eq!(several, Err(LicenseKeyError::Several));
    for text in [
        format!("{one}-EEEE"),
        format!("{one}2"),
        format!("see {one}-EEEE there"),
        format!("see {}", &one.as_str()[..25]),
    ] {
        let error = LicenseKey::parse(&text).unwrap_err();
        assert_eq!(
            error,
            LicenseKeyError::Form(OddCharacters::default()),
            "{text}"
        );
    }
}

#[test]
fn a_message_shows_odd_characters_by_code_point() {
    let message = |text: &str| LicenseKey::parse(text).unwrap_err().to_string();
    assert_eq!(
        message("FXSGHT-АAAA-BBBB-CCCC-DDDD"),
        "license keys never contain the character U+0410"
    );
    assert_eq!(
        message("FXSGHT-AAAA-BBBB-CCCC-DDD0"),
        "license keys never contain the character '0'"
    );
    assert_eq!(
        message("\u{feff}FXSGHT-AAAA-BB\u{200b}BB-ÇÇ"),
        "a license key looks like FXSGHT-XXXX-XXXX-XXXX-XXXX; this text contains U+FEFF, U+200B, U+00C7"
    );
    let plain = "a license key looks like FXSGHT-XXXX-XXXX-XXXX-XXXX";
    assert_eq!(message("FXSGHT-AAAA"), plain);
}

#[test]
fn the_same_random_bytes_always_make_the_same_key() {
    let key = |bytes: &[u8]| LicenseKey::from_random(bytes).unwrap().to_string();
    let counting: Vec<u8> = (0..15).collect();
    assert_eq!(key(&counting), "FXSGHT-2345-6789-ABCD-EFGH");
    // Values above 247 are skipped; the rest is taken modulo 31.
    let mut others = vec![248, 255, 247, 31, 30];
    others.extend(&counting);
    assert_eq!(key(&others), "FXSGHT-Z2Z2-3456-789A-BCD9");
}

#[test]
fn too_little_randomness_makes_no_key() {
    assert_eq!(LicenseKey::from_random(&[255; 64]), None);
    assert_eq!(LicenseKey::from_random(&[1; 14]), None);
}

#[test]
fn a_masked_key_keeps_only_its_ends() {
    assert_eq!(
        mask("FXSGHT-AAAA-BBBB-CCCC-DDDD"),
        "FXSGHT-****-****-****-DDDD"
    );
    assert_eq!(mask("short"), "****");
    assert_eq!(mask("123456789012345"), "****");
    assert_eq!(mask("1234567890123456"), "-****-****-****-3456");
    assert!(format!("{:?}", key()).starts_with("LicenseKey(FXSGHT-****"));
    assert!(!format!("{:?}", key()).contains(&key().as_str()[7..21]));
}

#[test]
fn keys_within_a_text_are_masked_in_any_spelling() {
    let key = key();
    let masked = mask(key.as_str());
    let spelled = key.as_str();
    let bare = &spelled[7..];
    for text in [
        spelled.to_owned(),
        spelled.to_lowercase(),
        spelled.replace('-', ""),
        spelled.replace('-', " "),
        spelled.replace('-', "."),
        spelled.replace('-', "–"),
        spelled.replace('-', "_/"),
        spelled.replace('S', "ſ"),
        spelled
            .chars()
            .flat_map(|c| [c, ' '])
            .collect::<String>()
            .trim()
            .to_owned(),
        bare.to_owned(),
        bare.to_lowercase(),
        bare.replace('-', ""),
        bare.replace('-', "  "),
        bare.replace('-', "."),
    ] {
        let shown = mask_within(&format!("key '{text}': no"), "");
        assert_eq!(shown, format!("key '{masked}': no"), "{text}");
    }
    let twice = format!("{spelled}{spelled},{bare}");
    let shown = mask_within(&twice, "");
    assert_eq!(shown, format!("{masked}{masked},{masked}"));
    assert_eq!(mask_within(&shown, ""), shown);
}

#[test]
fn a_known_key_is_masked_in_any_form() {
    let known = "acme-Key.of 2026";
    let masked = mask(known);
    for text in [
        known,
        "ACMEKEYOF2026",
        "acme key of 2026",
        "a.c.m.e-keyof-2026",
    ] {
        let shown = mask_within(&format!("({text})"), known);
        assert_eq!(shown, format!("({masked})"), "{text}");
    }
    // Without prefix and check character, joined to other letters.
    let shown = mask_within("xaaaabbbbccccddddx", "FXSGHT-AAAA-BBBB-CCCC-DDDD");
    assert_eq!(shown, "xFXSGHT-****-****-****-DDDDx");
}

#[test]
fn other_texts_are_not_masked() {
    for text in [
        "",
        "FXSGHT",
        "FXSGHT-AAAA",
        "the License Server rejected the key",
        "FXSGHT-****-****-****-DDDD is the key that this license server knows",
        "7a3cdd45-9e22-4a6b-8c5d-2f3a4b5c6d7e",
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "ß漢字FXSGHTß",
    ] {
        assert_eq!(mask_within(text, ""), text);
        assert_eq!(mask_within(text, "abc"), text);
    }
}

#[test]
fn spelling_does_not_change_a_key() {
    assert!(same("FXSGHT-AAAA", " fxsght aaaa"));
    assert!(!same("FXSGHT-AAAA", "FXSGHT-AAAB"));
}
