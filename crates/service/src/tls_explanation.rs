//! Explains why a TLS connection failed, and what to do about it: for calls to the License Server
//! and for connections to PostgreSQL.
//!
//! The TLS library reports only the low-level error, and also calls this program's certificate that
//! of the peer.

mod rare_flaw;
mod root_file;

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::Path;

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use url::Url;

use crate::database_url::DatabaseUrl;
use crate::database_url::as_libpq::root_certificate;
use crate::presentable_url::presentable_path;
use crate::regular_file;
use rare_flaw::rare_flaw;

/// Maximum number of bytes of a file that are read to identify its content.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// What a server has to offer.
const OFFER: &str = "the server must offer TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or \
    ChaCha20-Poly1305";

/// A server that is called over TLS.
#[derive(Clone, Copy, Debug)]
pub struct TlsServer<'a> {
    host: &'a str,
    port: u16,
    is_postgres: bool,
    /// The setting that contains the address.
    setting: &'static str,
    /// The file of `sslrootcert`.
    root: Option<&'a str>,
}

/// Why a TLS connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The subject of the explanation.
    pub subject: Subject,
    /// The problem, and what to do about it.
    pub text: String,
}

/// The subject of an [`Explanation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The server's certificate.
    Certificate,
    /// What the server offers or requires.
    Handshake,
}

impl<'a> TlsServer<'a> {
    /// A License Server or License Client, whose address is in this setting.
    #[must_use]
    pub fn of_http(host: &'a str, port: u16, setting: &'static str) -> Self {
        Self {
            host,
            port,
            is_postgres: false,
            setting,
            root: None,
        }
    }

    /// The explanation of an error of the TLS library; `None` if the error is clear enough.
    #[must_use]
    pub fn explain(&self, error: &rustls::Error) -> Option<Explanation> {
        if let rustls::Error::InvalidCertificate(why) = error {
            return Some(Explanation {
                subject: Subject::Certificate,
                text: self.certificate(error, why),
            });
        }
        self.handshake(error).map(|text| Explanation {
            subject: Subject::Handshake,
            text,
        })
    }

    fn handshake(&self, error: &rustls::Error) -> Option<String> {
        let Self {
            host,
            port,
            setting,
            ..
        } = self;
        let client_certificate = match self.is_postgres {
            true => {
                "if the server requires a client certificate, set sslcert to a certificate that it \
                 accepts, and sslkey to its key"
            }
            false => "require no client certificate",
        };
        Some(match error {
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)
                if !self.is_postgres =>
            {
                format!(
                    "{host}:{port} speaks HTTP, not TLS; write http:// in {setting}, or use the \
                     port that speaks TLS"
                )
            }
            rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => format!(
                "the server does not recognize the name {host}; correct {setting}, or add the name \
                 to the server's configuration"
            ),
            rustls::Error::AlertReceived(
                alert @ (AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity
                | AlertDescription::CertificateRequired
                | AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied),
            ) => format!(
                "the server ended the TLS handshake ({alert:?}); {OFFER}, and {client_certificate}"
            ),
            rustls::Error::PeerIncompatible(why) => {
                format!("the server's TLS is not supported ({why:?}); {OFFER}")
            }
            _ => return None,
        })
    }

    fn certificate(&self, error: &rustls::Error, why: &CertificateError) -> String {
        let host = self.host;
        let setting = self.setting;
        let bare = host.trim_matches(['[', ']']);
        let kind = match bare.parse::<IpAddr>() {
            Ok(_) => "IP",
            Err(_) => "DNS",
        };
        // Without CA:FALSE it would be the certificate of an authority, which no server may use.
        let make = format!(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 825 -keyout key.pem -out certificate.pem \
             -subj /CN={bare} -addext subjectAltName={kind}:{bare} \
             -addext basicConstraints=critical,CA:FALSE"
        );
        // A self-signed certificate does not replace one of an authority that others trust.
        let reissue = |wanted: &str| {
            format!(
                "have the certificate's authority issue {wanted}, or, if the certificate is \
                 self-signed, create one: {make}"
            )
        };
        let is_untrusted = matches!(why, CertificateError::UnknownIssuer)
            || other_cause(error) == Some(&webpki::Error::CaUsedAsEndEntity);
        if let Some(flaw) = self.root.filter(|_| is_untrusted).and_then(root_file::flaw) {
            return flaw;
        }
        match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired; renew it, or correct this machine's \
                 clock"
                    .to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet; this machine's clock may be wrong"
                    .to_owned()
            }
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                let why = match self.is_postgres {
                    true => ": it names no host as subjectAltName, and a common name is ignored",
                    false => "",
                };
                format!(
                    "the server's certificate is not valid for {bare}{why}; {}",
                    reissue("one that is")
                )
            }
            CertificateError::NotValidForNameContext { presented, .. } => format!(
                "the server's certificate is for {}, not for {bare}; correct {setting}, or {}",
                presented
                    .iter()
                    .map(|name| name_in(name))
                    .collect::<Vec<_>>()
                    .join(", "),
                reissue(&format!("one for {bare}"))
            ),
            CertificateError::UnknownIssuer => self.unknown_issuer(bare),
            _ if other_cause(error) == Some(&webpki::Error::CaUsedAsEndEntity) => {
                match self.is_postgres {
                    true => format!(
                        "the server's certificate is a CA certificate (CA:TRUE, the default of \
                         'openssl req -x509'). Unlike psql, this program does not accept a CA \
                         certificate from a server, even if sslrootcert lists it; create a \
                         certificate with CA:FALSE, name it and its key in ssl_cert_file and \
                         ssl_key_file of the server, and set sslrootcert to it: {make}"
                    ),
                    false => format!(
                        "the server's certificate is self-signed and is not listed as trusted; {}",
                        self.listing(bare)
                    ),
                }
            }
            _ if is_version_1(error) => format!(
                "the server's certificate, or one sent with it, uses X.509 version 1; create a \
                 version 3 certificate: {make}"
            ),
            why => {
                let (what, wanted) = rare_flaw(why);
                format!("the server's certificate{what}; {}", reissue(wanted))
            }
        }
    }

    fn unknown_issuer(&self, bare: &str) -> String {
        match self.root {
            Some(root) => format!(
                "the server's certificate is not signed by an authority of {}; if it is signed by \
                 an intermediate authority, append that authority's certificate to ssl_cert_file \
                 of the server; otherwise, {}",
                named("sslrootcert", root),
                self.listing(bare)
            ),
            None => format!(
                "the server's certificate is not signed by a trusted authority; {}",
                self.listing(bare)
            ),
        }
    }

    /// How to trust the server.
    fn listing(&self, bare: &str) -> String {
        let Self { host, port, .. } = self;
        let server_name = match bare.parse::<IpAddr>() {
            Ok(_) => String::new(),
            Err(_) => format!(" -servername {bare}"),
        };
        match self.is_postgres {
            true => format!(
                "set sslrootcert to the certificate of its authority; to see the server's \
                 certificates, run: openssl s_client -starttls postgres -connect {host}:{port} \
                 -showcerts </dev/null"
            ),
            false => format!(
                "if the certificate is {}, add that exact certificate to LICENSE_CA_FILE: openssl \
                 s_client -connect {host}:{port}{server_name} </dev/null | openssl x509 -out \
                 license-server.pem",
                match self.setting {
                    "LICENSE_API_URL" => "the vendor's",
                    _ => "your service's",
                }
            ),
        }
    }
}

/// Why the TLS connection to the PostgreSQL server failed, and what to do about it; `None` if
/// `error` is not related to TLS.
#[must_use]
pub(crate) fn of_postgres(error: &sqlx::Error, url: &DatabaseUrl) -> Option<String> {
    let url = Url::parse(&url.expose()).ok()?;
    let parameter = |names: [&str; 2]| {
        let value = url.query_pairs().find(|(name, _)| names.contains(&&**name));
        value.map(|(_, value)| value)
    };
    let certificate = parameter(["sslcert", "ssl-cert"]);
    let key = parameter(["sslkey", "ssl-key"]);
    match error {
        sqlx::Error::Io(error) => {
            let root = root_certificate(&url);
            let host = parameter(["host", "hostaddr"]);
            let host = host.as_deref().or(url.host_str()).unwrap_or_default();
            let server = TlsServer {
                host,
                port: url.port().unwrap_or(5432),
                is_postgres: true,
                setting: "DATABASE_URL",
                root: root.as_deref(),
            };
            let tls = tls_error(error);
            let explained = tls.and_then(|error| server.explain(error));
            let files = [
                ("sslrootcert", root.as_deref().map(Cow::Borrowed)),
                ("sslcert", certificate),
                ("sslkey", key),
            ];
            explained.map(|explained| explained.text).or_else(|| {
                files
                    .iter()
                    .find_map(|(name, file)| unreadable(name, file, error))
            })
        }
        sqlx::Error::Tls(error) => {
            if let Some(flaw) = root_certificate(&url).and_then(|root| root_file::flaw(&root)) {
                return Some(flaw);
            }
            let error = tls_error(&**error)?;
            let certificate = named("sslcert", certificate.as_deref()?);
            match error {
                _ if is_version_1(error) => Some(format!(
                    "{certificate} uses X.509 version 1; create a version 3 certificate with the \
                     certificate and key of your authority: openssl req -newkey rsa:2048 -nodes \
                     -subj /CN=USER -keyout client.key -out client.csr && openssl x509 -req -in \
                     client.csr -CA ca.crt -CAkey ca.key -days 825 -extfile <(echo \
                     extendedKeyUsage=clientAuth) -out client.crt"
                )),
                rustls::Error::InconsistentKeys(_) => Some(format!(
                    "{certificate} and sslkey do not match; if they matched, these commands would \
                     print the same: openssl x509 -pubkey -noout -in CERTIFICATE; openssl pkey \
                     -pubout -in KEY"
                )),
                rustls::Error::NoCertificatesPresented => {
                    Some(format!("{certificate} contains no PEM certificate"))
                }
                _ => None,
            }
        }
        sqlx::Error::Configuration(_) => unusable_key(&key?),
        _ => None,
    }
}

/// A file that `DATABASE_URL` names and that cannot be read, if `error` may come from it.
fn unreadable(name: &str, file: &Option<Cow<'_, str>>, error: &io::Error) -> Option<String> {
    let file = file.as_deref()?;
    let reading = regular_file::open(file.as_ref()).and_then(|mut file| file.read(&mut [0]));
    let found = reading.err().filter(|found| found.kind() == error.kind())?;
    Some(format!("{} cannot be read: {found}", named(name, file)))
}

/// Why the file of `sslkey` contains no usable key.
fn unusable_key(file: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let opened = regular_file::open(file.as_ref()).ok()?;
    opened.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let has = |mark: &str| text.contains(mark);
    let (kind, action) = if has("BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") {
        (
            "an encrypted private key",
            "decrypt it: openssl pkey -in FILE -out client.key",
        )
    } else if has("BEGIN OPENSSH PRIVATE KEY") {
        (
            "an OpenSSH key",
            "convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY",
        )
    } else if has("PRIVATE KEY-----") {
        (
            "a damaged private key",
            "check it: openssl pkey -check -noout -in FILE",
        )
    } else if has("BEGIN CERTIFICATE-----") {
        (
            "a certificate",
            "set sslkey to the private key that belongs to it",
        )
    } else if bytes.first() == Some(&0x30) {
        (
            "in DER, or PKCS #12",
            "convert it: openssl pkey -in FILE -out client.key",
        )
    } else {
        (
            "not a PEM private key",
            "set sslkey to the private key of sslcert",
        )
    };
    Some(format!("{} is {kind}; {action}", named("sslkey", file)))
}

/// A file of `DATABASE_URL`. The library takes a certificate for its content as well.
fn named(parameter: &str, value: &str) -> String {
    match value.contains("-----BEGIN") {
        true => format!("{parameter} in DATABASE_URL"),
        false => format!("{parameter} '{}'", presentable_path(Path::new(value))),
    }
}

/// The error of the TLS library inside another error.
#[must_use]
pub fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(outer) => tls_error(outer.get_ref()?),
        None => error.downcast_ref(),
    }
}

/// An error of the certificate verifier for which the TLS library has no name.
#[must_use]
pub fn other_cause<T: Error + 'static>(error: &rustls::Error) -> Option<&T> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

fn is_version_1(error: &rustls::Error) -> bool {
    other_cause(error) == Some(&webpki::Error::UnsupportedCertVersion)
}

/// The name in the library's notation `DnsName("name")`.
fn name_in(presented: &str) -> &str {
    presented.split('"').nth(1).unwrap_or(presented)
}
