//! The administrator's token. Only its hash is kept.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use axum::http::{HeaderMap, header};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Fewest characters of a token.
const SHORTEST: usize = 16;

/// The settings that name it.
#[derive(Clone, Debug, Args)]
pub struct AdminTokenSettings {
    /// Bearer token that lets its holder change things, from anywhere; at least 16
    /// characters
    #[arg(long, env, hide_env_values = true, value_parser = secret, value_name = "TOKEN")]
    pub admin_token: Option<SecretString>,

    /// File with the bearer token
    #[arg(long, env, conflicts_with = "admin_token", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

impl AdminTokenSettings {
    /// The token, if one is set.
    ///
    /// # Errors
    /// When its file cannot be read, or it is no token.
    pub fn load(&self) -> anyhow::Result<Option<AdminToken>> {
        let (name, token) = match (&self.admin_token_file, &self.admin_token) {
            (Some(file), _) => ("ADMIN_TOKEN_FILE", read(file)?),
            (None, Some(token)) => ("ADMIN_TOKEN", token.clone()),
            (None, None) => return Ok(None),
        };
        // What is wrong with it is said without it.
        let text = token.expose_secret();
        let is_whole = text.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(
            is_whole && text.len() >= SHORTEST,
            "{name}: a token has at least {SHORTEST} characters, all of them visible ASCII, in one line; 'openssl rand -hex 24' makes one"
        );
        Ok(Some(AdminToken::new(&token)))
    }
}

/// A token that can be compared with.
#[derive(Clone, Copy)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Keeps the hash of a token.
    #[must_use]
    pub fn new(token: &SecretString) -> Self {
        Self(hash(token.expose_secret()))
    }

    /// Whether it is this text. Hashes are compared, so that the time it takes
    /// tells nothing about the token.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0 == hash(text)
    }

    /// Whether a request shows it, as RFC 6750, section 2.1 says.
    #[must_use]
    pub fn is_shown_in(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION);
        value
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .is_some_and(|(_, token)| self.is(token.trim()))
    }
}

fn read(file: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("ADMIN_TOKEN_FILE: '{}' cannot be read", file.display()))?;
    Ok(text.trim().into())
}

/// Anything is taken here: the library would show what is not.
#[expect(clippy::unnecessary_wraps, reason = "the form that the library calls")]
fn secret(text: &str) -> Result<SecretString, String> {
    Ok(text.into())
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_right() {
        let token = AdminToken::new(&"0123456789abcdef".into());
        let with = |value: &'static str| {
            let value = value.parse().unwrap();
            token.is_shown_in(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
        };
        assert!(with("Bearer 0123456789abcdef"));
        assert!(with("bearer  0123456789abcdef"));
        assert!(!with("Bearer 0123456789abcdeF"));
        assert!(!with("Basic 0123456789abcdef"));
        assert!(!with("Bearer "));
        assert!(!token.is_shown_in(&HeaderMap::new()));
    }

    #[test]
    fn a_token_that_is_none_is_refused_without_being_shown() {
        for wrong in [
            "fifteen-letters",
            "two\nlines-of-a-token",
            "spaces in a token",
            "übertragungstoken",
        ] {
            let settings = AdminTokenSettings {
                admin_token: Some(wrong.into()),
                admin_token_file: None,
            };
            let error = settings.load().err().unwrap().to_string();
            assert!(
                error.contains("openssl rand") && !error.contains(wrong),
                "{error}"
            );
        }
    }
}
