//! Flaws of certificates that are rare.

use std::borrow::Cow;

use rustls::CertificateError;

/// What is wrong with a certificate, as a continuation of its name, and what it should be instead.
#[expect(deprecated, reason = "verifiers may still return these")]
pub(super) fn rare_flaw(why: &CertificateError) -> (Cow<'static, str>, &'static str) {
    const USUAL: &str = "one that is signed with SHA-256, with an ECDSA key (P-256) or an RSA key \
        (rsaEncryption) of at least 2048 bits";
    match why {
        CertificateError::UnsupportedSignatureAlgorithm => (
            " uses an algorithm that is not supported, such as SHA-1".into(),
            USUAL,
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            ..
        } => {
            let name = algorithm(signature_algorithm_id);
            let what =
                format!(", or one sent with it, is signed with {name}, which is not supported");
            (what.into(), USUAL)
        }
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            public_key_algorithm_id,
            ..
        } => {
            let name = algorithm(public_key_algorithm_id);
            let what =
                format!(", or one sent with it, has a key for {name}, which is not supported");
            (what.into(), USUAL)
        }
        CertificateError::BadSignature => (
            ", or one sent with it, has an invalid signature, or belongs to an RSA key of fewer \
             than 2048 bits"
                .into(),
            USUAL,
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => (
            " is not for servers: its extended key usage does not include serverAuth".into(),
            "one with extendedKeyUsage = serverAuth",
        ),
        CertificateError::BadEncoding => (" is malformed".into(), "a new one"),
        CertificateError::Revoked => (" is revoked".into(), "a new one"),
        CertificateError::UnhandledCriticalExtension => (
            " has a critical extension that is not supported".into(),
            "one without it",
        ),
        CertificateError::Other(other) => (
            format!(" is not accepted ({})", other.0).into(),
            "a new one",
        ),
        why => (format!(" is not accepted ({why})").into(), "a new one"),
    }
}

/// The name of an algorithm in DER, with or without its parameters (RFC 3279, 4055, 5758, 8410).
fn algorithm(id: &[u8]) -> &'static str {
    const NAMES: [(&[u8], &str); 9] = [
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "RSA"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", "MD5"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "SHA-1"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSASSA-PSS"),
        (b"\x2a\x86\x48\xce\x3d\x04\x01", "SHA-1"),
        (b"\x2a\x86\x48\xce\x3d\x02\x01", "this elliptic curve"),
        (b"\x2a\x86\x48\xce\x38\x04\x03", "DSA"),
        (b"\x2b\x65\x70", "Ed25519"),
        (b"\x2b\x65\x71", "Ed448"),
    ];
    let is_in = |oid: &[u8]| id.windows(oid.len()).any(|part| part == oid);
    let found = NAMES.iter().find(|(oid, _)| is_in(oid));
    found.map_or("an unknown algorithm", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_explanation::TlsServer;

    #[test]
    fn rare_flaws_are_named_in_words() {
        let signed = |id: &[u8]| CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: id.to_vec(),
            supported_algorithms: Vec::new(),
        };
        let sha1 = signed(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00");
        let pss = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: Vec::new(),
            public_key_algorithm_id: b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a".to_vec(),
        };
        let purpose = CertificateError::InvalidPurposeContext {
            required: rustls::ExtendedKeyPurpose::ServerAuth,
            presented: Vec::new(),
        };
        for (error, said) in [
            (sha1, "is signed with SHA-1, which is not supported"),
            (pss, "has a key for RSASSA-PSS, which is not supported"),
            (signed(b"\x01"), "an unknown algorithm"),
            (
                CertificateError::BadSignature,
                "an RSA key of fewer than 2048 bits",
            ),
            (purpose, "extendedKeyUsage = serverAuth"),
            (CertificateError::Revoked, "certificate is revoked"),
        ] {
            let server = TlsServer::of_http("db.example", 443, "LICENSE_API_URL");
            let text = server.explain(&error.into()).unwrap().text;
            assert!(text.contains(said), "{text}");
            assert!(!text.contains("Context"), "{text}");
            let advice = "have the certificate's authority issue";
            assert!(text.contains(advice), "{text}");
            assert!(
                text.contains("or, if the certificate is self-signed, create one: openssl"),
                "{text}"
            );
        }
    }
}
