//! Spellings of libpq that the database library reads differently, or not at all.

use percent_encoding::percent_decode_str;
use url::Url;

/// The names of the parameter with the authorities.
const ROOT_CERTIFICATE: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
const MODE: [&str; 2] = ["sslmode", "ssl-mode"];

/// The file with the authorities that may have signed the server's certificate.
pub(crate) fn root_certificate(url: &Url) -> Option<String> {
    let mut pairs = url.query_pairs();
    let found = pairs.find(|(name, _)| ROOT_CERTIFICATE.contains(&&**name));
    found.map(|(_, value)| value.into_owned())
}

/// The URL with the meaning that libpq gives to its parameters for certificates: with a file of
/// authorities, `require` verifies the certificate, as `verify-ca` does.
///
/// # Errors
/// For the authorities of the system, with what to write instead.
pub(super) fn with_verified_certificate(mut url: Url) -> Result<Url, String> {
    match root_certificate(&url) {
        None => return Ok(url),
        Some(file) if file == "system" => {
            return Err(
                "sslrootcert=system is not supported: name the file with the authorities of the \
                 system, such as sslrootcert=/etc/ssl/certs/ca-certificates.crt, with \
                 sslmode=verify-full"
                    .to_owned(),
            );
        }
        Some(_) => {}
    }
    let is_mode = |name: &str| MODE.contains(&name);
    let pairs = url.query_pairs().into_owned();
    let pairs = pairs.map(|(name, value)| {
        let is_require = is_mode(&name) && value.eq_ignore_ascii_case("require");
        let value = if is_require {
            "verify-ca".to_owned()
        } else {
            value
        };
        (name, value)
    });
    let pairs: Vec<(String, String)> = pairs.collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    Ok(url)
}

/// The text of a URL whose host is the directory of a socket (PostgreSQL's manual, section
/// 34.1.1.2), with the directory as the parameter `host`; `None` for any other.
pub(super) fn with_socket_as_parameter(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    let host = url.host_str()?;
    let directory = percent_decode_str(host).decode_utf8().ok()?;
    if !directory.starts_with('/') {
        return None;
    }
    let directory = directory.into_owned();
    url.set_host(Some("localhost")).ok()?;
    url.query_pairs_mut().append_pair("host", &directory);
    Some(url.to_string())
}

#[cfg(test)]
mod tests {
    use crate::database_url::DatabaseUrl;

    #[test]
    fn certificates_are_verified_as_by_libpq() {
        let parsed = |text: &str| text.parse::<DatabaseUrl>().map(|url| url.expose());
        for (text, expected) in [
            (
                "sslmode=require&sslrootcert=ca.pem",
                "sslmode=verify-ca&sslrootcert=ca.pem",
            ),
            (
                "ssl-mode=REQUIRE&ssl-ca=ca.pem",
                "ssl-mode=verify-ca&ssl-ca=ca.pem",
            ),
            ("sslmode=require", "sslmode=require"),
            (
                "sslmode=prefer&sslrootcert=ca.pem",
                "sslmode=prefer&sslrootcert=ca.pem",
            ),
            (
                "sslmode=verify-full&sslrootcert=ca.pem",
                "sslmode=verify-full&sslrootcert=ca.pem",
            ),
        ] {
            let url = parsed(&format!("postgresql://u:p@h/d?{text}")).unwrap();
            assert_eq!(url, format!("postgresql://u:p@h/d?{expected}"), "{text}");
        }
        for name in ["sslrootcert", "ssl-root-cert", "ssl-ca"] {
            let refused = parsed(&format!("postgresql://u:p@h/d?{name}=system")).unwrap_err();
            assert!(refused.contains("/ca-certificates.crt"), "{refused}");
        }
    }

    #[test]
    fn the_directory_of_a_socket_may_be_the_host() {
        let parsed = |text: &str| text.parse::<DatabaseUrl>().map(|url| url.expose());
        for (text, expected) in [
            (
                "postgresql://u:p@%2Frun%2Fpostgresql/db",
                "postgresql://u:p@localhost/db?host=%2Frun%2Fpostgresql",
            ),
            (
                "postgresql://u@%2frun%2fpostgresql:5433/db?application_name=x",
                "postgresql://u@localhost:5433/db?application_name=x&host=%2Frun%2Fpostgresql",
            ),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(parsed("postgresql://u:p@run%2Fpostgresql/db").is_err());
    }
}
