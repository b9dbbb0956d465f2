//! The certificates in the file that `LICENSE_CA_FILE` names.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license_service::regular_file;
use license_service::text_file::MAX_FILE_BYTES;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

/// Why a file contains no usable certificates.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificatesError {
    /// It is not text, or contains no certificates.
    #[error("the file contains no PEM certificate{0}")]
    None(String),
    /// The content between two PEM markers is not a certificate.
    #[error("the file contains a damaged PEM certificate: {0}")]
    Damaged(String),
    /// Possibly certificates, but in an unsupported format.
    #[error("the file contains {format}; to extract the certificates, run: {command}")]
    OtherFormat {
        /// The format.
        format: &'static str,
        /// A command that converts it.
        command: &'static str,
    },
}

/// Reads the file.
///
/// # Errors
/// If it cannot be read, is not a regular file, or is larger than 16 MiB.
pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    regular_file::read(file, MAX_FILE_BYTES)
}

/// Reads the certificates in a file: PEM in any text encoding, also indented, on one line, or with
/// `\n` for line breaks as in environment variables and JSON; or one certificate in DER.
///
/// # Errors
/// If it contains none, or one cannot be read.
pub fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let found = match der(file)? {
        Some(certificate) => vec![certificate],
        None => match license_core::text_encoding::decode(file) {
            Ok(text) => pem(&text)?,
            Err(error) => return Err(CertificatesError::None(format!(": {error}"))),
        },
    };
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        let added = roots.add(certificate.clone());
        added.map_err(|error| CertificatesError::Damaged(error.to_string()))?;
    }
    Ok(found)
}

/// A certificate in DER; `None` if the file is not DER. The first element inside distinguishes the
/// formats (RFC 5280, 4.1; RFC 2315, 7; RFC 7292, 4; RFC 5958, 2).
fn der(file: &[u8]) -> Result<Option<CertificateDer<'static>>, CertificatesError> {
    let content = match file {
        [0x30, length @ 0..=0x7f, content @ ..] if usize::from(*length) == content.len() => content,
        // `0` followed by a byte that does not occur in text. OpenSSL writes PKCS #7 and #12 with
        // indefinite length.
        [0x30, 0x80, content @ ..]
        | [0x30, 0x81, _, content @ ..]
        | [0x30, 0x82, _, _, content @ ..]
        | [0x30, 0x83, _, _, _, content @ ..] => content,
        _ => return Ok(None),
    };
    let (format, command) = match content {
        [0x30, ..] => return Ok(Some(CertificateDer::from(file.to_vec()))),
        [0x06, ..] => (
            "PKCS #7 data in DER (.p7b)",
            "openssl pkcs7 -inform der -print_certs -in FILE -out ca.pem",
        ),
        [0x02, 0x01, 0x03, ..] => (
            "PKCS #12 data (.p12, .pfx; if the command reports an unsupported algorithm, add \
             -legacy to it)",
            "openssl pkcs12 -nokeys -in FILE -out ca.pem",
        ),
        [0x02, ..] => (
            "a private key, which does not belong here",
            "openssl s_client -connect HOST:443 -showcerts </dev/null; copy the last certificate",
        ),
        _ => return Ok(None),
    };
    Err(CertificatesError::OtherFormat { format, command })
}

/// The certificates between `-----BEGIN CERTIFICATE-----` and its end (RFC 7468), with any white
/// space.
fn pem(text: &str) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let text = text.replace("\\r", "").replace("\\n", "\n");
    let damaged = |why: &str| CertificatesError::Damaged(why.to_owned());
    let mut found = Vec::new();
    let mut other = None;
    let mut rest = text.as_str();
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let marked = block.split_once("-----");
        let (label, block) = marked.ok_or_else(|| damaged("a BEGIN line is incomplete"))?;
        let end = format!("-----END {label}-----");
        let (body, behind) = match block.split_once(&end) {
            Some(parts) => parts,
            None if label.ends_with("CERTIFICATE") => {
                return Err(CertificatesError::Damaged(format!("'{end}' is missing")));
            }
            None => ("", block),
        };
        rest = behind;
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let body: String = body.split_whitespace().collect();
                let der = STANDARD.decode(body);
                let der = der.map_err(|error| CertificatesError::Damaged(error.to_string()))?;
                found.push(CertificateDer::from(der));
            }
            "TRUSTED CERTIFICATE" => {
                other = Some((
                    "a certificate with OpenSSL trust settings (TRUSTED CERTIFICATE)",
                    "openssl x509 -in FILE -out ca.pem",
                ));
            }
            "PKCS7" | "CMS" => {
                other = Some((
                    "PKCS #7 data (.p7b)",
                    "openssl pkcs7 -print_certs -in FILE -out ca.pem",
                ));
            }
            _ => {}
        }
    }
    match (found.is_empty(), other) {
        (false, _) => Ok(found),
        (true, Some((format, command))) => Err(CertificatesError::OtherFormat { format, command }),
        (true, None) => Err(CertificatesError::None(String::new())),
    }
}
