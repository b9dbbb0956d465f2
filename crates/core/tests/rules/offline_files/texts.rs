//! The texts of files, and what happens to them on their way.

use license_core::offline::{
    FileError, MAX_FILE_BYTES, MAX_REQUEST_CHARS, OfflineRequest, from_file, to_file,
};

use super::request;

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
        let shown = format!("the file is {found}; expected a '{expected}'");
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
