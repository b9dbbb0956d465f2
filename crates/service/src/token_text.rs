//! The text of a token that a service has created, as opposed to one that was chosen for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::random;

/// How every token begins, so that scanners for secrets recognise it.
pub const PREFIX: &str = "fxt_";
/// Length of a token: the prefix, and 32 bytes in base64url.
pub const TOKEN_CHARS: usize = PREFIX.len() + 43;

/// A new token with 256 random bits.
#[must_use]
pub fn new_token() -> String {
    format!("{PREFIX}{}", random::nonce())
}

/// Whether a text has the form of a token. Anything else needs no further check.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let random = text.strip_prefix(PREFIX);
    let bytes = random.and_then(|random| URL_SAFE_NO_PAD.decode(random).ok());
    bytes.is_some_and(|bytes| bytes.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_one_and_a_text_of_another_length_is_not() {
        let token = new_token();
        assert_eq!(token.len(), TOKEN_CHARS);
        assert!(is_token(&token));
        assert_ne!(token, new_token());
        let shorter = &token[..TOKEN_CHARS - 1];
        for other in [
            "",
            PREFIX,
            shorter,
            &format!("{token}A"),
            &token[PREFIX.len()..],
            &token.to_uppercase(),
            &format!("{shorter}="),
            &format!("{shorter} "),
        ] {
            assert!(!is_token(other), "{other}");
        }
    }
}
