//! The thumbprint of a public key (RFC 7638), by which an installation's key is known.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// SHA-256 of an Ed25519 public key in the form of RFC 7638, section 3. Its text form is 43
/// characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbprint([u8; 32]);

/// The text is not a thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the SHA-256 thumbprint of a key: 43 characters in base64url")]
pub struct NotAThumbprint;

impl Thumbprint {
    /// The thumbprint of a key.
    #[must_use]
    pub fn of(key: &VerifyingKey) -> Self {
        Self::of_x(&URL_SAFE_NO_PAD.encode(key.as_bytes()))
    }

    /// The thumbprint of the key whose `x` is this text.
    pub(crate) fn of_x(x: &str) -> Self {
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Self(Sha256::digest(canonical).into())
    }
}

impl FromStr for Thumbprint {
    type Err = NotAThumbprint;

    fn from_str(text: &str) -> Result<Self, NotAThumbprint> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotAThumbprint)?;
        bytes.try_into().map(Self).map_err(|_| NotAThumbprint)
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = NotAThumbprint;

    fn try_from(text: String) -> Result<Self, NotAThumbprint> {
        text.parse()
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        thumbprint.to_string()
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.3.
    const RFC_8037: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    #[test]
    fn the_text_form_is_read_back_and_no_other_text_is() {
        let thumbprint: Thumbprint = RFC_8037.parse().unwrap();
        assert_eq!(thumbprint.to_string(), RFC_8037);
        let json = serde_json::to_string(&thumbprint).unwrap();
        assert_eq!(json, format!("\"{RFC_8037}\""));
        assert_eq!(
            serde_json::from_str::<Thumbprint>(&json).unwrap(),
            thumbprint
        );
        for other in [
            "",
            &RFC_8037[1..],
            &format!("{RFC_8037}A"),
            &format!("{RFC_8037}="),
            // The last character has two bits that must be zero.
            &RFC_8037.replace("S4k", "S4l"),
            &RFC_8037.replace('_', "/"),
        ] {
            assert_eq!(other.parse::<Thumbprint>(), Err(NotAThumbprint), "{other}");
        }
    }
}
