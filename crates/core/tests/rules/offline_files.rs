//! License files: changes by e-mail that they survive, and reasons for rejection.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::contact::Mismatch;
use license_core::document::{DenialReason, DocumentError, LicenseClaims};
use license_core::offline::{
    FileError, ImportError, Imported, MAX_FILE_BYTES, MAX_REQUEST_CHARS, OfflineRequest, Pending,
    Purpose, Reader, WrittenAhead, from_file, import, nonce, to_file,
};

use crate::signer::{
    HARDWARE, INSTALLATION, KEY, NONCE, SEQ, Signer, T0, at, denial_claims, license_claims,
};

fn request() -> OfflineRequest {
    OfflineRequest {
        purpose: Purpose::Activate,
        license_key: KEY.into(),
        hardware_id: HARDWARE.into(),
        installation_id: INSTALLATION.into(),
        installation_name: "Zürich – Hafen".into(),
        installation_version: "1.0.0".into(),
        nonce: NONCE.into(),
        created_at: T0,
        key_set: 3,
        newest_seq: None,
    }
}

fn pending(purpose: Purpose) -> Pending {
    let request = OfflineRequest {
        purpose,
        ..request()
    };
    request.pending()
}

fn offline() -> LicenseClaims {
    LicenseClaims {
        offline: true,
        valid_until: at(24 * 90),
        exp: at(24 * 93),
        ..license_claims()
    }
}

struct Site {
    pending: Vec<Pending>,
    current: Option<(&'static str, Option<u64>)>,
    installation_id: &'static str,
    hardware_id: &'static str,
}

impl Site {
    fn waiting_for(purpose: Purpose) -> Self {
        Self {
            pending: vec![pending(purpose)],
            current: Some((KEY, None)),
            installation_id: INSTALLATION,
            hardware_id: HARDWARE,
        }
    }

    fn import(&self, jws: &str) -> Result<Imported, ImportError> {
        let reader = Reader {
            installation_id: self.installation_id,
            hardware_id: self.hardware_id,
            pending: &self.pending,
            current: self.current,
        };
        import(jws, &reader, &Signer::vendor().keyring()).map(|(imported, answered)| {
            assert_eq!(answered, self.pending[0]);
            imported
        })
    }
}

#[test]
fn a_request_survives_common_changes_to_text() {
    let file = request().to_file();
    assert!(file.starts_with("-----BEGIN FOXSIGHT LICENSE REQUEST-----\n"));
    assert!(file.ends_with("-----END FOXSIGHT LICENSE REQUEST-----\n"));
    assert!(file.lines().all(|line| line.len() <= 64));
    for changed in [
        file.clone(),
        file.replace('\n', "\r\n"),
        file.replace('\n', "\n> "),
        format!("Hello,\n\n{file}\n-- \nKind regards"),
        file.replace('\n', "   \n\n\t"),
    ] {
        assert_eq!(OfflineRequest::from_file(&changed), Ok(request()));
    }
}

#[test]
fn a_request_is_read_up_to_the_size_of_the_longest_texts() {
    let mut longest = request();
    for text in [
        &mut longest.license_key,
        &mut longest.hardware_id,
        &mut longest.installation_id,
        &mut longest.installation_name,
        &mut longest.installation_version,
        &mut longest.nonce,
    ] {
        *text = "\u{1f600}".repeat(255);
    }
    let file = longest.to_file();
    assert_eq!(OfflineRequest::from_file(&file), Ok(longest));
    // The text around it may be long: it comes by e-mail.
    let mail = format!("{}\n{file}", "> Regards\n".repeat(5_000));
    assert!(OfflineRequest::from_file(&mail).is_ok());

    let armoured = |inside: &str, begin: &str| {
        format!(
            "-----BEGIN FOXSIGHT {begin}LICENSE REQUEST-----\n{inside}\n-----END FOXSIGHT LICENSE REQUEST-----\n"
        )
    };
    let too_long = "it has more than 12288 characters";
    for begin in ["", "<b>"] {
        let most = armoured(&"A".repeat(MAX_REQUEST_CHARS), begin);
        let error = OfflineRequest::from_file(&most).unwrap_err().to_string();
        assert!(!error.contains(too_long), "{error}");
        let long = armoured(&"A".repeat(MAX_REQUEST_CHARS + 1), begin);
        let read = OfflineRequest::from_file(&long);
        let expected = match begin {
            "" => FileError::Damaged(too_long.to_owned()),
            // What is wrong with the file without its markup is not what is reported.
            _ => FileError::NotAFile {
                expected: "FOXSIGHT LICENSE REQUEST",
            },
        };
        assert_eq!(read, Err(expected), "{begin}");
    }
    // A license file may hold many key sets.
    let sets = vec!["s".repeat(1_000); 50];
    assert_eq!(
        from_file(&to_file(&sets, "a.b.c")),
        Ok((sets, "a.b.c".to_owned()))
    );
}

/// Files as changed by mail programs, word processors and consoles.
fn carried(file: &str) -> Vec<String> {
    let html = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let each = |sign: &str| {
        file.chars()
            .flat_map(|c| [c.to_string(), sign.to_owned()])
            .collect()
    };
    let mut texts: Vec<String> = vec![
        file.replace("-----", "—–"),
        file.replace("-----", "——-"),
        file.replace("-----", "–––––"),
        file.replace("-----", "−−−−−"),
        file.replace("-----", "----"),
        file.replace("-----BEGIN", "-BEGIN"),
        file.replace('-', "\u{2011}"),
        format!("\u{feff}{file}"),
        file.replace(' ', "\u{a0}"),
        file.replace("LICENSE", "LI\u{200b}CENSE"),
        each("\u{200b}"),
        each("\u{2060}"),
        each("\u{ad}"),
        file.replace('\n', "\u{2028}"),
        file.replace('\n', "\r\n> > "),
        // Quoted-printable.
        file.replace('=', "=3D"),
        file.replace('\n', "=\r\n"),
        // Pages.
        format!(
            "<html><head><style>p > a {{}}</style></head><body><p>{}</p></body></html>",
            html(file).replace('\n', "<br>\n")
        ),
        format!("<pre>{}</pre>", html(file)),
        html(file)
            .lines()
            .map(|line| format!("<div style=\"a\">{line}</div>"))
            .collect(),
        html(file)
            .replace("-----", "&mdash;&ndash;")
            .replace(' ', "&nbsp;")
            .replace('\n', "<br/>"),
        html(file).replace('\n', "<wbr>&#8203;"),
        html(file).replace('-', "&#45;"),
        format!(
            "Bob <bob@customer.example> wrote:\n{}",
            file.replace('\n', "\n> ")
        ),
        format!("a < b\n{file}\nc > d"),
    ];
    let wide = |c: char| match c {
        '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
        c => c,
    };
    texts.push(file.chars().map(wide).collect());
    texts
}

#[test]
fn files_survive_mail_programs_and_word_processors() {
    let file = request().to_file();
    for text in carried(&file) {
        assert_eq!(OfflineRequest::from_file(&text), Ok(request()), "{text}");
    }
    let sets = ["set-_one.a".to_owned(), "s--et---two.b".to_owned()];
    let jws = "eyJh--x.b-_c---.d-A";
    let file = to_file(&sets, jws);
    for text in carried(&file) {
        let read = from_file(&text);
        assert_eq!(read, Ok((sets.to_vec(), jws.to_owned())), "{text}");
    }
}

#[test]
fn dashes_of_word_processors_count_as_two_hyphens() {
    let file = to_file(&[""; 0], "eyJh--x.b.c");
    assert!(
        file.lines()
            .all(|line| line.starts_with("-----") || !line.contains("--")),
        "{file}"
    );
    // Files of earlier releases have them on one line.
    let earlier =
        "-----BEGIN FOXSIGHT LICENSE FILE-----\neyJh--x.b.c\n-----END FOXSIGHT LICENSE FILE-----\n";
    for dash in ["--", "–", "—"] {
        let read = from_file(&earlier.replace("h--x", &format!("h{dash}x")));
        assert_eq!(read, Ok((Vec::new(), "eyJh--x.b.c".to_owned())), "{dash}");
    }
}

#[test]
fn errors_name_the_type_of_the_file() {
    let file = request().to_file();
    let expected = "FOXSIGHT LICENSE REQUEST";
    for (text, found) in [
        ("<!DOCTYPE html><p>Sign in", "an HTML page"),
        ("\u{feff}  <HTML>", "an HTML page"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", "a certificate (PEM)"),
        ("{\"keys\":[]}", "a set of public keys (JWK Set)"),
        ("{\"a\":1}", "JSON"),
        ("Return-Path: <a@b>\n", "a whole e-mail message"),
    ] {
        let error = OfflineRequest::from_file(text).unwrap_err();
        assert_eq!(
            error,
            FileError::SomethingElse { expected, found },
            "{text}"
        );
        let shown = format!("the file is {found}, expected a '{expected}'");
        assert_eq!(error.to_string(), shown);
    }
    let line = file.lines().nth(1).unwrap();
    for (odd, named) in [("ä", "U+00E4"), ("!", "'!'"), ("\u{1f600}", "U+1F600")] {
        let foreign = file.replacen(&line[..4], odd, 1);
        let why = format!("it contains the character {named}");
        assert_eq!(
            OfflineRequest::from_file(&foreign),
            Err(FileError::Damaged(why))
        );
    }
}

#[test]
fn an_invalid_file_is_rejected_with_a_reason() {
    let file = request().to_file();
    let read = OfflineRequest::from_file;
    let expected = "FOXSIGHT LICENSE REQUEST";
    let other = "FOXSIGHT LICENSE FILE";
    assert_eq!(read(""), Err(FileError::NotAFile { expected }));
    assert_eq!(read("hello"), Err(FileError::NotAFile { expected }));
    let found = other;
    assert_eq!(
        read(&to_file(&[""; 0], "a.b.c")),
        Err(FileError::OtherKind { expected, found })
    );
    assert_eq!(
        from_file(&file),
        Err(FileError::OtherKind {
            expected: other,
            found: expected
        })
    );
    let end = file.find("-----END").unwrap();
    for length in [45, 100, end, end + 10, file.len() - 6] {
        assert_eq!(
            read(&file[..length]),
            Err(FileError::Truncated { expected }),
            "{length}"
        );
    }
    let lines: Vec<&str> = file.lines().collect();
    let missing = [&lines[..2], &lines[3..]].concat().join("\n");
    assert!(matches!(read(&missing), Err(FileError::Damaged(_))));
    let foreign = file.replacen(&lines[1][..4], "äöü!", 1);
    assert!(matches!(read(&foreign), Err(FileError::Damaged(_))));
    let long = format!("{file}{}", " ".repeat(MAX_FILE_BYTES + 1 - file.len()));
    let bytes = long.len();
    assert_eq!(bytes, 1024 * 1024 + 1);
    assert_eq!(read(&long), Err(FileError::TooLong { bytes }));
    assert!(
        read(&format!(
            "{file}{}",
            " ".repeat(MAX_FILE_BYTES - file.len())
        ))
        .is_ok()
    );
}

#[test]
fn a_license_file_contains_the_key_sets_and_the_document() {
    let sets = ["a.b.c".to_owned(), "d.e.f".to_owned()];
    let read = from_file(&to_file(&sets, "g.h.i")).unwrap();
    assert_eq!(read, (sets.to_vec(), "g.h.i".to_owned()));
    assert_eq!(
        from_file(&to_file(&[""; 0], "x")).unwrap(),
        (vec![], "x".into())
    );
}

#[test]
fn an_answer_counts_for_the_request_that_it_answers() {
    let vendor = Signer::vendor();
    let license = vendor.license(&offline());
    for purpose in [Purpose::Activate, Purpose::Renew] {
        let imported = Site::waiting_for(purpose).import(&license);
        assert!(matches!(imported, Ok(Imported::License(_))), "{imported:?}");
    }
    assert_eq!(
        Site::waiting_for(Purpose::Deactivate).import(&license),
        Err(ImportError::OtherPurpose)
    );
    let denial = vendor.denial(&denial_claims());
    for purpose in [Purpose::Activate, Purpose::Renew, Purpose::Deactivate] {
        let imported = Site::waiting_for(purpose).import(&denial);
        assert!(matches!(imported, Ok(Imported::Denied(_))), "{imported:?}");
    }
    let mut receipt = denial_claims();
    receipt.reason = DenialReason::Deactivated;
    let receipt = vendor.denial(&receipt);
    assert_eq!(
        Site::waiting_for(Purpose::Deactivate).import(&receipt),
        Ok(Imported::Deactivated)
    );
    for purpose in [Purpose::Activate, Purpose::Renew] {
        assert_eq!(
            Site::waiting_for(purpose).import(&receipt),
            Err(ImportError::OtherPurpose)
        );
    }
}

#[test]
fn an_answer_that_does_not_count_is_rejected_with_a_reason() {
    let vendor = Signer::vendor();
    let refusal = |change: &dyn Fn(&mut LicenseClaims, &mut Site)| {
        let (mut claims, mut site) = (offline(), Site::waiting_for(Purpose::Activate));
        change(&mut claims, &mut site);
        site.import(&vendor.license(&claims)).unwrap_err()
    };
    assert_eq!(
        refusal(&|claims, _| claims.offline = false),
        ImportError::NotOffline
    );
    assert_eq!(
        refusal(&|claims, _| claims.nonce = Some("other".into())),
        ImportError::NotRequested
    );
    assert_eq!(
        refusal(&|claims, _| claims.nonce = None),
        ImportError::NotRequested
    );
    assert_eq!(
        refusal(&|_, site| site.installation_id = "other"),
        ImportError::Foreign(Mismatch::Installation {
            found: INSTALLATION.into()
        })
    );
    assert_eq!(
        refusal(&|_, site| site.hardware_id = "other"),
        ImportError::Foreign(Mismatch::Hardware)
    );
    assert_eq!(
        refusal(&|_, site| site.pending[0].license_key = "other".into()),
        ImportError::Foreign(Mismatch::LicenseKey)
    );
    for current in [None, Some(("other", None))] {
        let not_current = |site: &mut Site| {
            site.pending = vec![pending(Purpose::Renew)];
            site.current = current;
        };
        assert_eq!(
            refusal(&|_, site| not_current(site)),
            ImportError::NotCurrent
        );
    }
    let site = Site::waiting_for(Purpose::Activate);
    assert!(matches!(
        site.import(&Signer::untrusted().license(&offline())),
        Err(ImportError::NotGenuine(DocumentError::UnknownKeyId(_)))
    ));
    assert!(matches!(
        site.import("a.b.c"),
        Err(ImportError::NotGenuine(_))
    ));
}

#[test]
fn a_file_is_valid_until_its_lease_ends() {
    let vendor = Signer::vendor();
    let mut claims = offline();
    claims.valid_until = at(1);
    let imported = Site::waiting_for(Purpose::Renew).import(&vendor.license(&claims));
    let imported = imported.unwrap();
    let renewal = &Site::waiting_for(Purpose::Renew).pending[0];
    assert_eq!(imported.signed_at(renewal), Some(claims.iat));
    // The end is inclusive.
    assert_eq!(imported.is_still_good(at(1)), Ok(()));
    assert_eq!(
        imported.is_still_good(at(1) + TimeDelta::milliseconds(1)),
        Err(ImportError::Expired { valid_until: at(1) })
    );
    let denial = vendor.denial(&denial_claims());
    let denied = Site::waiting_for(Purpose::Renew).import(&denial).unwrap();
    assert_eq!(denied.signed_at(renewal), Some(denial_claims().iat));
    // Anyone can get a denial for any key.
    let activation = &Site::waiting_for(Purpose::Activate).pending[0];
    assert_eq!(denied.signed_at(activation), None);
    assert_eq!(denied.is_still_good(at(90_000)), Ok(()));
    assert_eq!(Imported::Deactivated.signed_at(renewal), None);
    assert_eq!(Imported::Deactivated.is_still_good(at(90_000)), Ok(()));
}

#[test]
fn a_nonce_contains_its_time_and_is_unique() {
    let asked = T0 + TimeDelta::milliseconds(999);
    let nonce_of = |byte| nonce([byte; 24], asked);
    assert_ne!(nonce_of(1), nonce_of(2));
    assert_eq!(nonce_of(1).len(), 43);
    let ahead = |nonce: String| {
        let pending = Pending {
            nonce,
            ..pending(Purpose::Renew)
        };
        pending.check_nonce(at(-1)).err().map(|it| it.written_at)
    };
    assert_eq!(ahead(nonce_of(1)), Some(T0));
    for other in ["", "nonce", &"A".repeat(42), "%"] {
        assert_eq!(ahead(other.to_owned()), None, "{other}");
    }
}

#[test]
fn a_request_from_the_future_is_refused_by_either_of_its_times() {
    let ten_minutes = TimeDelta::minutes(10);
    let second = TimeDelta::seconds(1);
    for ahead in [
        -TimeDelta::days(9000),
        TimeDelta::zero(),
        ten_minutes,
        ten_minutes + second,
    ] {
        let then = T0 + ahead;
        for (asked, created_at) in [(then, T0), (T0, then), (then, then)] {
            for purpose in [Purpose::Activate, Purpose::Renew, Purpose::Deactivate] {
                let request = OfflineRequest {
                    purpose,
                    nonce: nonce([7; 24], asked),
                    created_at,
                    ..request()
                };
                let refused = (ahead > ten_minutes).then_some(WrittenAhead {
                    written_at: then,
                    now: T0,
                });
                assert_eq!(request.check_written(T0).err(), refused, "{ahead}");
            }
        }
    }
    let year_2100 = "2100-01-01T00:00:00Z".parse().unwrap();
    let request = OfflineRequest {
        created_at: year_2100,
        ..request()
    };
    assert_eq!(
        request.check_written(T0).unwrap_err().to_string(),
        "the request was written at 2100-01-01 00:00 UTC, but it is 2026-03-01 00:00 UTC here: \
         set the clock of the site's machine, then write a new request there"
    );
    // No time is too far away, and none overflows.
    for created_at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let request = OfflineRequest {
            created_at,
            ..request.clone()
        };
        assert_eq!(request.check_written(T0).is_err(), created_at > T0);
    }
}

#[test]
fn an_answer_counts_once() {
    let vendor = Signer::vendor();
    let (license, denial) = (vendor.license(&offline()), vendor.denial(&denial_claims()));
    // The request is still pending, and its answer is known: from the license …
    let mut site = Site::waiting_for(Purpose::Renew);
    site.current = Some((KEY, Some(SEQ)));
    assert_eq!(site.import(&license), Err(ImportError::Reused));
    assert!(site.import(&denial).is_ok());
    site.current = Some((KEY, Some(SEQ - 1)));
    assert!(site.import(&license).is_ok());
    // … or from the state when it was written.
    let mut site = Site::waiting_for(Purpose::Activate);
    site.current = None;
    site.pending[0].newest_seq = Some(SEQ);
    assert_eq!(site.import(&license), Err(ImportError::Reused));
    // The numbers of another license do not matter.
    site.pending[0].newest_seq = None;
    site.current = Some(("other", Some(SEQ + 9)));
    assert!(site.import(&license).is_ok());

    // It is no longer pending.
    let mut site = Site::waiting_for(Purpose::Renew);
    site.pending.clear();
    site.current = Some((KEY, Some(SEQ + 1)));
    assert_eq!(site.import(&license), Err(ImportError::Reused));
    assert_eq!(site.import(&denial), Err(ImportError::Reused));
    site.current = Some((KEY, Some(SEQ - 1)));
    assert_eq!(site.import(&license), Err(ImportError::NotRequested));
    site.current = Some((KEY, None));
    assert_eq!(site.import(&license), Err(ImportError::NotRequested));
    site.current = Some(("other", Some(SEQ + 9)));
    assert_eq!(site.import(&license), Err(ImportError::NotRequested));
}
