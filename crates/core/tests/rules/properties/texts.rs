//! Texts of any form that are read.

use license_core::document::verify_license;
use license_core::keyring::Keyring;
use license_core::license::parse_instant;
use license_core::license_key::{LicenseKey, normalize, same};
use license_core::offline::OfflineRequest;
use license_core::response::{Contact, Question, Reply, Trust};
use proptest::prelude::*;

use super::config;
use crate::signer::{HARDWARE, INSTALLATION, KEY, NONCE, Signer, activation, validation};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_key_is_read_in_every_spelling_and_within_every_text(
        bytes in prop::collection::vec(0..248_u8, 15),
        spelling in prop::collection::vec((0..3_usize, "[\u{200b}\u{feff}\u{ad}\u{2060}\u{e0041}]{0,2}"), 32),
        dashes in prop::collection::vec("[-\u{2010}-\u{2015}\u{2212}\u{ff0d}\u{30fc} \u{a0}\u{3000}\n]{0,3}", 4),
        around in ("([a-z ,]{0,20}[ :\"“«(\n])?", "([ .,\"”»)\n][a-z ,]{0,20})?"),
    ) {
        let key = LicenseKey::from_random(&bytes).unwrap();
        let mut groups = dashes.iter();
        let mut spelled = String::new();
        for (c, (form, invisible)) in key.as_str().chars().zip(&spelling) {
            spelled.push_str(invisible);
            if c == '-' {
                spelled.push_str(groups.next().unwrap());
                continue;
            }
            spelled.push(match form {
                0 => c,
                1 => c.to_ascii_lowercase(),
                _ => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
            });
        }
        let (before, after) = around;
        let text = format!("{before}{spelled}{after}");
        prop_assert_eq!(LicenseKey::parse(&text), Ok(key.clone()), "{}", text);
        prop_assert_eq!(normalize(&text), key.as_str());
        prop_assert!(same(&normalize(&text), key.as_str()));
    }

    #[test]
    fn a_text_of_another_maker_is_sent_as_it_is(text in "[A-Za-z0-9é漢.:/_]{1,15}") {
        prop_assert_eq!(normalize(&text), text.as_str());
        prop_assert_eq!(normalize(&format!("\u{feff} “{text}”\r\n")), text);
    }

    #[test]
    fn nothing_that_is_read_ever_panics(text in ".{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..80), status in any::<u16>()) {
        let keyring = Signer::vendor().keyring();
        let _ = parse_instant(&text);
        let _ = LicenseKey::parse(&text);
        let _ = normalize(&text);
        let _ = license_core::text_encoding::decode(&bytes);
        let _ = OfflineRequest::from_file(&text);
        let _ = Keyring::from_json(&text);
        let _ = verify_license(&text, &keyring);
        let question = Question {
            nonce: NONCE, license_key: KEY, installation_id: INSTALLATION, hardware_id: HARDWARE,
            code_hash: None, newest_seq: None,
        };
        for body in [bytes, text.into_bytes()] {
            let reply = Reply::Answer { status, body };
            for trust in [Trust::Unsigned, Trust::Keys(keyring.clone())] {
                prop_assert!(!matches!(activation(&reply, &question, &trust), Contact::Confirmed(_)));
                prop_assert!(!matches!(validation(&reply, &question, &trust), Contact::Confirmed(_)));
            }
        }
    }
}
