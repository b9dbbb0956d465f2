//! The file of `sslrootcert`, if the database library finds no certificate in it: it reads only PEM
//! in ASCII or UTF-8.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::named;
use crate::regular_file;
use crate::text_file::MAX_FILE_BYTES;

/// What is wrong with the certificates in the file, and what to do about it; `None` if they can be
/// used, or the file cannot be read.
pub(super) fn flaw(file: &str) -> Option<String> {
    // The library takes a certificate for its content.
    if file.contains("-----BEGIN") {
        return None;
    }
    let bytes = regular_file::read(Path::new(file), MAX_FILE_BYTES).ok()?;
    let (what, action) = match certificates(&bytes) {
        Ok(0) => content(&bytes),
        Ok(_) => return None,
        Err(why) => (
            format!("contains a damaged PEM certificate ({why})"),
            "export it again",
        ),
    };
    Some(format!("{} {what}; {action}", named("sslrootcert", file)))
}

/// The number of certificates that the library finds.
fn certificates(bytes: &[u8]) -> Result<usize, String> {
    let mut roots = RootCertStore::empty();
    for found in CertificateDer::pem_slice_iter(bytes) {
        let certificate = found.map_err(|error| error.to_string())?;
        let added = roots.add(certificate);
        added.map_err(|error| error.to_string())?;
    }
    Ok(roots.len())
}

/// What a file without PEM certificates contains instead.
fn content(bytes: &[u8]) -> (String, &'static str) {
    let has = |mark: &[u8]| bytes.windows(mark.len()).any(|it| it == mark);
    let (what, action) = match bytes {
        [] => ("is empty", "write the authority's certificate to it"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => (
            "is in UTF-16, not in ASCII",
            "convert it: iconv -f utf-16 -t ascii FILE > ca.pem",
        ),
        [0xef, 0xbb, 0xbf, ..] => (
            "begins with a byte order mark",
            "remove it: tail -c +4 FILE > ca.pem",
        ),
        [0x30, ..] => (
            "is in DER or another binary format, not in PEM",
            "convert it: openssl x509 -inform der -in FILE -out ca.pem",
        ),
        _ if has(b"PRIVATE KEY-----") => (
            "contains a private key and no certificate",
            "name the file with the authority's certificate",
        ),
        _ => (
            "contains no PEM certificate",
            "name the file with the authority's certificate",
        ),
    };
    (what.to_owned(), action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let name = file.to_str().unwrap();
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let utf_16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(pem.bytes().flat_map(|byte| [byte, 0]))
            .collect();
        for (content, why) in [
            (Vec::new(), "is empty"),
            (utf_16, "is in UTF-16"),
            (
                [b"\xef\xbb\xbf", pem.as_bytes()].concat(),
                "byte order mark",
            ),
            (vec![0x30, 0x82, 1, 1, 0x30], "is in DER"),
            (
                b"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n".to_vec(),
                "contains a private key",
            ),
            (b"hello".to_vec(), "no PEM certificate"),
            (pem.into(), "damaged PEM certificate"),
        ] {
            std::fs::write(&file, content).unwrap();
            let said = flaw(name).unwrap();
            assert!(said.starts_with("sslrootcert '"), "{said}");
            assert!(said.contains("ca.pem' "), "{said}");
            assert!(said.contains(why), "{said}");
        }
        // Another message says that it cannot be read.
        std::fs::remove_file(&file).unwrap();
        assert_eq!(flaw(name), None);
        assert_eq!(flaw(pem), None);
    }
}
