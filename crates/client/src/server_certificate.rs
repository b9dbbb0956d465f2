//! Decides whether the License Server's certificate is accepted.
//!
//! In addition to certificates of the system's authorities, two kinds are accepted. A certificate
//! listed in `LICENSE_CA_FILE` is accepted when the server presents exactly that one, regardless of
//! its type: `openssl req -x509` creates authorities, which rustls does not accept as server
//! certificates. And with trusted keys, a certificate may be valid by the wall clock or by the
//! effective time, so that a dead clock battery does not cut a site off from the server that could
//! correct its time. Name and validity are always checked.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use license_service::clock::Clock;
use license_service::tls_explanation::{Explanation, Subject, TlsServer, other_cause};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use url::Url;

use crate::system_authorities::SystemAuthorities;

/// Settings of TLS. `listed` are trusted in addition to the system's authorities, each as an
/// authority and as the server's own certificate. With `effective`, a certificate may
/// also be valid at that time. The system's authorities are read when the first certificate is
/// verified: that takes longer than everything else at the start.
///
/// # Errors
/// If one of `listed` cannot be an authority.
pub fn tls_config(
    listed: Vec<CertificateDer<'static>>,
    effective: Option<Arc<dyn Clock>>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut checked = RootCertStore::empty();
    for certificate in &listed {
        checked.add(certificate.clone())?;
    }
    let verifier = CertificateVerifier {
        by_authorities: OnceLock::new(),
        provider: provider.clone(),
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

struct CertificateVerifier {
    /// Trusts the system's authorities and `listed`.
    by_authorities: OnceLock<Result<Verifier, Error>>,
    provider: Arc<CryptoProvider>,
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
    fn by_authorities(&self) -> Result<&Verifier, Error> {
        let read = || Verifier::new_with_extra_roots(self.listed.clone(), self.provider.clone());
        let verifier = self.by_authorities.get_or_init(read).as_ref();
        verifier.map_err(|error| {
            tracing::debug!(%error, "no certificate authorities found");
            let none = OtherError(Arc::new(NoAuthorities));
            Error::InvalidCertificate(CertificateError::Other(none))
        })
    }

    fn verify_at(
        &self,
        at: UnixTime,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.by_authorities()?.verify_server_cert(
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
            // It names no host, and is trusted only because it is listed.
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
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// The explanation of an [`IncompleteChain`].
const INCOMPLETE: &str = "the server's certificate is not signed by a trusted authority, and the \
    server sends no intermediate certificate; configure the server to send the whole chain (its \
    own certificate, then the intermediate ones; often in fullchain.pem), or, if a private \
    authority has issued the certificate, add that authority's certificate to LICENSE_CA_FILE";

/// The server sent only its own certificate, which no trusted authority has signed.
#[derive(Debug, thiserror::Error)]
#[error("the server sends no intermediate certificate")]
struct IncompleteChain;

/// Neither the system nor `LICENSE_CA_FILE` has an authority.
#[derive(Debug, thiserror::Error)]
#[error("no certificate authorities found on this system or in LICENSE_CA_FILE")]
struct NoAuthorities;

/// Whether a certificate names itself as its issuer.
fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    let parsed = webpki::EndEntityCert::try_from(certificate);
    parsed.is_ok_and(|it| it.issuer() == it.subject())
}

/// A certificate that names hosts must name this one. A certificate without names, as created by
/// plain `openssl req -x509`, must have this one as its common name.
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

/// The explanation of a TLS error of the server at `url`, which is in this setting; `None` if there
/// is no better explanation than the error itself.
#[must_use]
pub fn explain(error: &Error, url: &Url, setting: &'static str) -> Option<Explanation> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let server = TlsServer::of_http(host, port, setting);
    let is_incomplete = other_cause::<IncompleteChain>(error).is_some();
    let is_unknown = error == &Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let are_none = other_cause::<NoAuthorities>(error).is_some();
    if !is_incomplete && !is_unknown && !are_none {
        return server.explain(error);
    }
    let of_certificate = |text| Explanation {
        subject: Subject::Certificate,
        text,
    };
    let untrusting = SystemAuthorities::read().untrusting();
    if are_none && let Some(none) = &untrusting {
        return Some(of_certificate(format!(
            "{none}; if a private authority has issued the server's certificate, add that \
             authority's certificate to LICENSE_CA_FILE"
        )));
    }
    let mut explained = match is_incomplete {
        true => of_certificate(INCOMPLETE.to_owned()),
        false => server.explain(error)?,
    };
    if let Some(fewer) = untrusting {
        explained.text.push_str(&format!(" ({fewer})"));
    }
    Some(explained)
}
