//! The address of the License Client, shown without its secrets.

use std::fmt;

use reqwest::Url;

/// Text that is or may contain a secret. It is never shown.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// The address of a License Client. It is shown as scheme, host and port.
#[derive(Clone)]
pub(crate) struct Address(Url);

impl Address {
    /// Parses an address and rejects ambiguous ones: with a raw `/`, `?`, `#`,
    /// `\\` or `@` in a password, part of the password would be read as the host.
    pub(crate) fn parse(text: &Secret) -> Result<Self, &'static str> {
        const AMBIGUOUS: &str = "malformed or ambiguous; percent-encode special characters in the \
                                 password: # is %23, / is %2F, ? is %3F, @ is %40";
        let text = text.expose().trim();
        let (_, rest) = text.split_once("://").ok_or(AMBIGUOUS)?;
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        let signs = rest.matches('@').count();
        if signs > 1 || signs != authority.matches('@').count() {
            return Err(AMBIGUOUS);
        }
        let url = Url::parse(text).map_err(|_| AMBIGUOUS)?;
        if url.host_str().is_none_or(|host| host.contains('%')) {
            return Err(AMBIGUOUS);
        }
        Ok(Self(url))
    }

    /// Includes the secrets: never log it.
    pub(crate) fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme())?;
        match self.0.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_secrets_or_refused_without_being_shown() {
        let shown = |text: &str| Address::parse(&Secret::new(text)).map(|it| it.to_string());
        let plain = Ok("http://license-client:8010".to_owned());
        assert_eq!(shown("http://license-client:8010"), plain);
        assert_eq!(
            shown("http://me:hunter2@license-client:8010/hunter2?hunter2#hunter2"),
            plain
        );
        for ambiguous in [
            "http://me:2024/hunter2@license-client",
            "http://me:2024#hunter2@license-client",
            "http://me:2024?hunter2@license-client",
            "http://me:2024\\hunter2@license-client",
            "http://me:x@hunter2@license-client",
            "me:hunter2@license-client",
            "http:me:hunter2@license-client",
        ] {
            let error = shown(ambiguous).unwrap_err();
            assert!(
                error.contains("# is %23") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
