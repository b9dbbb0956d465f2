//! Proofs of request files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license_core::offline::{MAX_REQUEST_CHARS, OfflineRequest, Purpose, RequestFile};
use license_core::proof::{ProofError, document_hash};
use serde_json::Value;

use super::key;
use crate::signer::{HARDWARE, INSTALLATION, KEY, NONCE, T0};

fn request(purpose: Purpose) -> OfflineRequest {
    OfflineRequest {
        purpose,
        license_key: KEY.into(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: HARDWARE.into(),
        installation_id: INSTALLATION.into(),
        installation_name: r#"Zürich – "Hafen",\"proof\":\" x"#.into(),
        installation_version: "2.0.0".into(),
        nonce: NONCE.into(),
        created_at: T0,
        key_set: 3,
        newest_seq: Some(1000),
        entitlements: true,
    }
}

/// The JSON in a file.
fn content(file: &str) -> String {
    let inside: String = file
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    String::from_utf8(STANDARD.decode(inside).unwrap()).unwrap()
}

/// A file with another content.
fn file(json: &str) -> RequestFile {
    let inside = STANDARD.encode(json);
    let text = format!(
        "-----BEGIN FOXSIGHT LICENSE REQUEST-----\n{inside}\n-----END FOXSIGHT LICENSE REQUEST-----\n"
    );
    RequestFile::read(&text).unwrap()
}

#[test]
fn a_proven_file_says_the_same_and_names_its_key() {
    for purpose in Purpose::ALL {
        let text = request(purpose).to_proven_file(&key(), Some("a.b.c"));
        assert_eq!(OfflineRequest::from_file(&text), Ok(request(purpose)));
        let file = RequestFile::read(&text).unwrap();
        assert_eq!(file.request, request(purpose));
        let proof = file.proof().unwrap().unwrap();
        assert_eq!(proof.thumbprint(), key().thumbprint());
        assert_eq!(proof.nonce(), NONCE);
        assert_eq!(proof.seq(), Some(1000));
        assert_eq!(proof.document_hash(), Some(&*document_hash("a.b.c")));
    }
}

#[test]
fn a_file_of_an_older_client_has_no_proof() {
    let text = request(Purpose::Renew).to_file();
    assert_eq!(RequestFile::read(&text).unwrap().proof(), None);
}

#[test]
fn a_changed_member_invalidates_the_proof() {
    let json = content(&request(Purpose::Renew).to_proven_file(&key(), None));
    let error = |json: &str| file(json).proof().unwrap().unwrap_err();
    let other_nonce = json.replacen(NONCE, "another", 1);
    assert_eq!(error(&other_nonce), ProofError::OtherNonce);
    let other_purpose = json.replace("\"renew\"", "\"deactivate\"");
    assert_eq!(error(&other_purpose), ProofError::OtherPath);
    for (from, to) in [
        (HARDWARE, "other"),
        (INSTALLATION, "other"),
        ("AAAA-BBBB", "AAAA-BBBC"),
        ("\"newestSeq\":1000", "\"newestSeq\":1001"),
        ("2026-03-01T00:00:00Z", "2027-03-01T00:00:00Z"),
        ("\"keySet\":3", "\"keySet\":3 "),
        (",\"entitlements\":true", ""),
        (",\"proof\"", ",\"later\":1,\"proof\""),
    ] {
        let changed = json.replacen(from, to, 1);
        assert_ne!(changed, json, "{from}");
        assert_eq!(error(&changed), ProofError::OtherBody, "{from}");
    }
}

#[test]
fn a_proof_is_the_last_member_and_belongs_to_its_file() {
    let json = content(&request(Purpose::Renew).to_proven_file(&key(), None));
    let (unproven, proof) = json.rsplit_once(",\"proof\":\"").unwrap();
    let proof = proof.strip_suffix("\"}").unwrap();
    let error = |json: &str| file(json).proof().unwrap().unwrap_err();
    let first = unproven.replacen('{', &format!("{{\"proof\":\"{proof}\","), 1) + "}";
    assert_eq!(error(&first), ProofError::Misplaced);
    for text in [
        format!("{unproven},\"proof\":\"{proof}\" }}"),
        format!("{unproven},\"proof\": \"{proof}\"}}"),
        format!("{unproven},\"proof\":null}}"),
        format!("{unproven},\"proof\":7}}"),
    ] {
        assert_eq!(error(&text), ProofError::Misplaced, "{text}");
    }
    let escaped = json.replace(proof, &proof.replacen('.', "\\u002e", 1));
    assert!(file(&escaped).proof().unwrap().is_err());
    let mut other = request(Purpose::Renew);
    other.installation_name = "other".into();
    let other = content(&other.to_proven_file(&key(), None));
    let (_, theirs) = other.rsplit_once(",\"proof\":\"").unwrap();
    let moved = format!("{unproven},\"proof\":\"{theirs}");
    assert_eq!(error(&moved), ProofError::OtherBody);
}

#[test]
fn members_of_later_versions_are_signed_too() {
    let json = content(&request(Purpose::Renew).to_file());
    let open = json.strip_suffix('}').unwrap();
    let unproven = format!("{open},\"later\":[1.50]}}");
    let proof = license_core::proof::create(
        &key(),
        &license_core::proof::Statement {
            at_address: license_core::proof::CallAddress::File(Purpose::Renew),
            body: unproven.as_bytes(),
            nonce: NONCE,
            seq: Some(1000),
            document: None,
            challenge: None,
            at: T0,
        },
    );
    let json = format!("{open},\"later\":[1.50],\"proof\":\"{proof}\"}}");
    assert!(file(&json).proof().unwrap().is_ok());
    let changed = json.replace("1.50", "1.5");
    assert_eq!(file(&changed).proof().unwrap(), Err(ProofError::OtherBody));
}

#[test]
fn the_largest_request_fits_with_its_proof() {
    let long = "😀".repeat(255);
    let request = OfflineRequest {
        license_key: long.clone(),
        add_on_key: Some(long.clone()),
        hardware_id: long.clone(),
        installation_id: long.clone(),
        installation_name: long.clone(),
        installation_version: long,
        nonce: "n".repeat(255),
        newest_seq: Some(u64::MAX),
        ..request(Purpose::Redeem)
    };
    let text = request.to_proven_file(&key(), Some("a.b.c"));
    let inside = content(&text).len().div_ceil(3) * 4;
    assert!(inside < MAX_REQUEST_CHARS, "{inside}");
    let file = RequestFile::read(&text).unwrap();
    assert!(file.proof().unwrap().is_ok());
    assert!(serde_json::from_str::<Value>(&content(&text)).is_ok());
}
