//! Names of sessions that are stored elsewhere.

use sha2::{Digest as _, Sha256};

use crate::admin_token::AdminToken;
use crate::random;

/// The name of a session, sealed with the token that began it: names that no server has made are
/// recognised without the place where sessions are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedName<'a> {
    text: &'a str,
    nonce: &'a str,
    seal: &'a str,
    token: Option<i64>,
}

impl<'a> SealedName<'a> {
    /// The lengths of names: 32 random bytes in base64url, a full stop and the seal; and the same
    /// with the number of a token, in 16 hexadecimal digits after another full stop.
    pub(super) const LENGTHS: [usize; 2] = [87, 104];

    /// The text of a new name, and the id under which its session is stored. `number` tells which
    /// token seals it, if there are several.
    #[must_use]
    pub fn create(token: &AdminToken, number: Option<i64>) -> (String, String) {
        let nonce = random::nonce();
        let mut name = format!("{nonce}.{}", token.seal(&nonce));
        if let Some(number) = number {
            name = format!("{name}.{number:016x}");
        }
        let id = id(&name);
        (name, id)
    }

    /// Reads a name.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let mut parts = text.split('.');
        let (nonce, seal) = (parts.next()?, parts.next()?);
        let token = match parts.next() {
            Some(number) => Some(i64::from_str_radix(number, 16).ok()?),
            None => None,
        };
        let is_whole = parts.next().is_none();
        is_whole.then_some(Self {
            text,
            nonce,
            seal,
            token,
        })
    }

    /// The number of the token that seals it.
    #[must_use]
    pub fn token(&self) -> Option<i64> {
        self.token
    }

    /// Whether it was sealed with this token.
    #[must_use]
    pub fn is_sealed_with(&self, token: &AdminToken) -> bool {
        token.is_sealed(self.nonce, self.seal)
    }

    /// The id under which its session is stored.
    #[must_use]
    pub fn id(&self) -> String {
        id(self.text)
    }
}

fn id(name: &str) -> String {
    use std::fmt::Write as _;
    let hash = Sha256::digest(name);
    hash.iter().fold(String::new(), |mut id, byte| {
        // Writing to a string does not fail.
        write!(id, "{byte:02x}").unwrap_or_default();
        id
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_which_token_seals_it() {
        let token = AdminToken::new(&"0123456789abcdef".into());
        let other = AdminToken::new(&"another-token-of-16".into());
        for number in [None, Some(1), Some(i64::MAX)] {
            let (name, id) = SealedName::create(&token, number);
            assert!(SealedName::LENGTHS.contains(&name.len()), "{name}");
            let read = SealedName::of(&name).unwrap();
            assert_eq!((read.token(), read.id()), (number, id));
            assert!(read.is_sealed_with(&token) && !read.is_sealed_with(&other));
        }
        for none in ["", "a", "a.b.x", "a.b.1.2"] {
            assert_eq!(SealedName::of(none), None, "{none}");
        }
    }
}
