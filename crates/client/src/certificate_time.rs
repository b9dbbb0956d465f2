//! TLS for machines whose clock may be dead.
//!
//! Where keys are trusted, what the License Server says is signed besides, and
//! the time is guarded. So a certificate may be valid by the wall clock or by
//! the effective time: a battery that has run out does not cut a site off from
//! the very server that could tell it the time.

use std::sync::Arc;
use std::time::Duration;

use license_service::clock::Clock;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::Verifier;

/// Settings of TLS that accept a certificate at either time. `roots` (PEM) are
/// trusted besides the system's authorities.
///
/// # Errors
/// When there is no authority at all to trust, or `roots` holds none.
pub fn tls_config(roots: Option<&[u8]>, effective: Arc<dyn Clock>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let extra: Vec<CertificateDer<'static>> = roots
        .map(|pem| CertificateDer::pem_slice_iter(pem).collect())
        .transpose()
        .map_err(|error| Error::General(format!("not a PEM certificate: {error}")))?
        .unwrap_or_default();
    let verifier = EitherTime {
        inner: verifier(extra, &provider)?,
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
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let system = Verifier::new_with_extra_roots(extra.clone(), provider.clone());
    match system {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(error) if extra.is_empty() => Err(error),
        Err(_) => {
            let mut roots = RootCertStore::empty();
            for certificate in extra {
                roots.add(certificate)?;
            }
            let built =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build();
            Ok(built.map_err(|error| Error::General(error.to_string()))?)
        }
    }
}

struct EitherTime {
    inner: Arc<dyn ServerCertVerifier>,
    effective: Arc<dyn Clock>,
}

impl std::fmt::Debug for EitherTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EitherTime").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for EitherTime {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |at| {
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
        };
        verify(now).or_else(|error| {
            let seconds = self.effective.now().timestamp();
            match u64::try_from(seconds) {
                Ok(seconds) if is_about_time(&error) => {
                    verify(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
                }
                _ => Err(error),
            }
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
