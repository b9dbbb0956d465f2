//! Whether the License Server's certificate is accepted.
//!
//! In addition to certificates of the system's authorities, two kinds are accepted. A certificate
//! listed in `LICENSE_CA_FILE` is accepted when the server presents exactly that one, regardless
//! of its type: `openssl req -x509` creates authorities, which rustls does not accept as server
//! certificates. And with trusted keys, a certificate may be valid by the wall clock or by the
//! effective time, so that an empty clock battery does not cut a site off from the server that
//! could correct its time. Name and validity are always checked.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license_service::clock::Clock;
use license_service::tls_explanation::{Explanation, Subject, TlsServer, other_cause};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier;

/// Why a file lists no certificates.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificatesError {
    /// It is no text, or none of certificates.
    #[error("it contains no PEM certificate{0}")]
    None(String),
    /// What stands between two marks is no certificate.
    #[error("a PEM certificate in it is damaged: {0}")]
    Damaged(String),
    /// Certificates, perhaps, in a format that is not read.
    #[error("it is {format}; convert it with: {command}")]
    OtherFormat {
        /// The format.
        format: &'static str,
        /// What makes a file that is read of it.
        command: &'static str,
    },
}

/// Reads the certificates in a file: PEM in any encoding of text, also indented, in one
/// line, or with `\n` for line breaks as environment variables and JSON have it; or one
/// certificate in DER.
///
/// # Errors
/// When it contains none, or one cannot be read.
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

/// A certificate in DER; `None` where the file is no DER. The first element inside tells
/// the formats apart (RFC 5280, 4.1; RFC 2315, 7; RFC 7292, 4; RFC 5958, 2).
fn der(file: &[u8]) -> Result<Option<CertificateDer<'static>>, CertificatesError> {
    let content = match file {
        [0x30, length @ 0..=0x7f, content @ ..] if usize::from(*length) == content.len() => content,
        // `0` with a byte that follows it in no text. OpenSSL writes PKCS #7 and #12 with
        // a length that is not known beforehand.
        [0x30, 0x80, content @ ..]
        | [0x30, 0x81, _, content @ ..]
        | [0x30, 0x82, _, _, content @ ..]
        | [0x30, 0x83, _, _, _, content @ ..] => content,
        _ => return Ok(None),
    };
    let (format, command) = match content {
        [0x30, ..] => return Ok(Some(CertificateDer::from(file.to_vec()))),
        [0x06, ..] => (
            "PKCS #7 (.p7b) in DER",
            "openssl pkcs7 -inform der -print_certs -in FILE -out ca.pem",
        ),
        [0x02, 0x01, 0x03, ..] => (
            "PKCS #12 (.p12, .pfx)",
            "openssl pkcs12 -nokeys -in FILE -out ca.pem",
        ),
        [0x02, ..] => (
            "a private key, which does not belong here",
            "openssl s_client -connect HOST:443 -showcerts </dev/null, and copy the last certificate",
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
                    "a certificate with OpenSSL's trust settings (TRUSTED CERTIFICATE)",
                    "openssl x509 -in FILE -out ca.pem",
                ));
            }
            "PKCS7" | "CMS" => {
                other = Some((
                    "PKCS #7 (.p7b)",
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

/// Settings of TLS. `listed` are trusted in addition to the system's authorities, each as an
/// authority and as the server's own certificate. With `effective`, a certificate may
/// also be valid at that time.
///
/// # Errors
/// When there is no authority at all to trust.
pub fn tls_config(
    listed: Vec<CertificateDer<'static>>,
    effective: Option<Arc<dyn Clock>>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = CertificateVerifier {
        inner: verifier(&listed, &provider)?,
        listed,
        effective,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A system without any authority, such as an empty container, has to do with
/// the extra ones.
fn verifier(
    extra: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let system = Verifier::new_with_extra_roots(extra.to_vec(), provider.clone());
    match system {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(error) if extra.is_empty() => Err(error),
        Err(error) => {
            tracing::warn!(
                %error,
                "this system has no certificate authorities; only those of LICENSE_CA_FILE are trusted"
            );
            let mut roots = RootCertStore::empty();
            for certificate in extra {
                roots.add(certificate.clone())?;
            }
            let built =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build();
            Ok(built.map_err(|error| Error::General(error.to_string()))?)
        }
    }
}

struct CertificateVerifier {
    inner: Arc<dyn ServerCertVerifier>,
    listed: Vec<CertificateDer<'static>>,
    effective: Option<Arc<dyn Clock>>,
}

impl std::fmt::Debug for CertificateVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateVerifier")
            .finish_non_exhaustive()
    }
}

impl CertificateVerifier {
    fn verify_at(
        &self,
        at: UnixTime,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            at,
        );
        match verified {
            // The library checks the validity before the issuer.
            Err(error) if is_about_issuer(&error) && self.listed.contains(end_entity) => {
                verify_name(end_entity, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            // It names no host, and only its own listing vouches for it.
            Err(error) if names_no_host(&error) && self.listed.contains(end_entity) => {
                verify_name(end_entity, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |at| self.verify_at(at, end_entity, intermediates, server_name, ocsp_response);
        let verified = verify(now).or_else(|error| {
            let effective = self.effective.as_ref().map(|clock| clock.now().timestamp());
            match effective.map(u64::try_from) {
                Some(Ok(seconds)) if is_about_time(&error) => {
                    verify(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
                }
                _ => Err(error),
            }
        });
        verified.map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer)
                if intermediates.is_empty() && !is_self_issued(end_entity) =>
            {
                let incomplete = OtherError(Arc::new(IncompleteChain));
                Error::InvalidCertificate(CertificateError::Other(incomplete))
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The server has sent its own certificate alone, which no trusted authority has signed.
#[derive(Debug, thiserror::Error)]
#[error("the server sends no intermediate certificate")]
struct IncompleteChain;

/// Whether a certificate names itself as its issuer.
fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    let parsed = webpki::EndEntityCert::try_from(certificate);
    parsed.is_ok_and(|it| it.issuer() == it.subject())
}

/// A certificate that names hosts has to name this one. One that names none, as plain
/// `openssl req -x509` makes it, has to have its name as common name.
fn verify_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    verify_server_name(&parsed, name).or_else(|error| match name {
        ServerName::DnsName(name) if names_no_host(&error) => {
            let is_named = common_name(certificate)
                .is_some_and(|common| common.eq_ignore_ascii_case(name.as_ref()));
            if is_named { Ok(()) } else { Err(error) }
        }
        _ => Err(error),
    })
}

/// The only common name of a certificate's subject (X.520, 6.2.2).
fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
    const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = Vec::new();
    let mut rest = parsed.subject();
    while !rest.is_empty() {
        let (set, after) = element(rest, 0x31)?;
        let (attribute, _) = element(set, 0x30)?;
        let (kind, value) = element(attribute, 0x06)?;
        if kind == COMMON_NAME {
            let text = TEXTS.into_iter().find_map(|tag| element(value, tag));
            names.push(String::from_utf8(text?.0.to_vec()).ok()?);
        }
        rest = after;
    }
    match &names[..] {
        [name] => Some(name.clone()),
        _ => None,
    }
}

/// The content of the first DER element, if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, content) = match der {
        [first, length @ 0..=0x7f, rest @ ..] if *first == tag => (usize::from(*length), rest),
        [first, 0x81, length, rest @ ..] if *first == tag => (usize::from(*length), rest),
        [first, 0x82, high, low, rest @ ..] if *first == tag => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    content.split_at_checked(length)
}

fn is_about_time(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    )
}

/// The certificate's issuer is not trusted, or it is an authority's certificate.
fn is_about_issuer(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    ) || is_authority(error)
}

fn is_authority(error: &Error) -> bool {
    other_cause(error) == Some(&webpki::Error::CaUsedAsEndEntity)
}

fn names_no_host(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })
            if presented.is_empty()
    )
}

/// What is wrong with the TLS of the License Server at `host`, and what to do; `None` for an error
/// that has no better explanation.
#[must_use]
pub fn explain(error: &Error, host: &str, port: u16) -> Option<Explanation> {
    if other_cause::<IncompleteChain>(error).is_some() {
        return Some(Explanation {
            subject: Subject::Certificate,
            text: "the server's certificate is not signed by a trusted authority, and the server sends \
                 no intermediate certificate; have the server send the whole chain (its own \
                 certificate, then those between it and the authority: often fullchain.pem), or, if a \
                 private authority has issued it, list that authority's certificate in LICENSE_CA_FILE"
                .to_owned(),
        });
    }
    TlsServer::license_server(host, port).explain(error)
}
