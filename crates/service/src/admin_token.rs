//! Tokens for administration. Only their hashes are kept.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::direct::text_of;
use crate::ownership::require_chosen;
use crate::presentable_url::presentable_path;
use crate::trimmed::unquoted;
use crate::{file_access, regular_file, text_file};

/// Minimum length of a token, in characters.
const MIN_TOKEN_CHARS: usize = 16;
/// How to get the token of a service.
const CREATE: &str = "create one with 'openssl rand -hex 24'";
/// Maximum size of a token file, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// The settings that specify the token.
#[derive(Clone, Debug, Default, Args)]
pub struct AdminTokenSettings {
    /// The token itself. Only the environment variable is accepted:
    /// `command_line::read` refuses the argument, which other users could see
    #[arg(long, env, hide = true, hide_env_values = true, value_parser = secret, value_name = "TOKEN")]
    pub admin_token: Option<SecretString>,

    /// File with the bearer token that permits changes from any network: at least 16 characters
    /// in one line, readable only by the service's user. The environment variable `ADMIN_TOKEN`
    /// may contain the token itself
    #[arg(long, env, conflicts_with = "admin_token", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

impl AdminTokenSettings {
    /// The token in the form for comparisons, if one is set.
    ///
    /// # Errors
    /// As [`AdminTokenSettings::read`].
    pub fn load(&self) -> anyhow::Result<Option<AdminToken>> {
        let token = self.read()?;
        Ok(token.as_ref().map(AdminToken::new))
    }

    /// The token, if one is set: see [`read_token`].
    ///
    /// # Errors
    /// If its file cannot be read, or does not contain a valid token.
    pub fn read(&self) -> anyhow::Result<Option<SecretString>> {
        match (&self.admin_token_file, &self.admin_token) {
            (Some(file), _) => read_token("ADMIN_TOKEN_FILE", file, CREATE).map(Some),
            (None, Some(token)) => {
                check("ADMIN_TOKEN", token, CREATE)?;
                Ok(Some(token.clone()))
            }
            (None, None) => Ok(None),
        }
    }
}

/// A token for comparisons.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Stores the hash of a token.
    #[must_use]
    pub fn new(token: &SecretString) -> Self {
        Self(hash(token.expose_secret()))
    }

    /// The token with this hash, as [`AdminToken::hash_text`] has written it.
    #[must_use]
    pub fn of_hash(text: &str) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let mut hash = [0; 32];
        let pairs = text.as_bytes().chunks(2);
        if text.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            let [high, low] = pair.try_into().ok()?;
            *byte = u8::try_from(16 * digit(high)? + digit(low)?).ok()?;
        }
        Some(Self(hash))
    }

    /// The hash of the token, in 64 hexadecimal digits.
    #[must_use]
    pub fn hash_text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            write!(text, "{byte:02x}").unwrap_or_default();
            text
        })
    }

    /// Whether the token is this text. Hashes are compared, so that the duration reveals nothing
    /// about the token.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0 == hash(text)
    }

    /// An authentication code (RFC 2104) of a text, which only holders of the token can create.
    fn mac(&self, text: &str) -> Hmac<Sha256> {
        // A key shorter than a block is padded with zeros.
        let mut key = [0; 64];
        key[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&key.into());
        mac.update(text.as_bytes());
        mac
    }

    /// The code of [`AdminToken::is_sealed`], in base64url.
    #[must_use]
    pub fn seal(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(text).finalize().into_bytes())
    }

    /// Whether the code was created for this text with this token. The comparison takes constant
    /// time.
    #[must_use]
    pub fn is_sealed(&self, text: &str, code: &str) -> bool {
        let code = URL_SAFE_NO_PAD.decode(code).unwrap_or_default();
        self.mac(text).verify_slice(&code).is_ok()
    }

    /// Whether the token is this text, or this text in quotation marks: a caller that reads the
    /// same env file as the service may send them.
    #[must_use]
    pub fn is_quoted(&self, text: &str) -> bool {
        self.is(text) || self.is(unquoted(text))
    }

    /// The token that a request carries.
    #[must_use]
    pub fn shown_in(&self, headers: &HeaderMap) -> ShownToken {
        let value = headers.get(header::AUTHORIZATION);
        self.shown_as(value.map(HeaderValue::as_bytes))
    }

    fn shown_as(&self, authorization: Option<&[u8]>) -> ShownToken {
        match bearer_in(authorization) {
            Some(token) if self.is_quoted(token) => ShownToken::Right,
            Some(_) => ShownToken::Wrong,
            None => ShownToken::None,
        }
    }

    /// Whether a request with this header `Authorization` carries this token.
    #[must_use]
    pub fn is_shown_as(&self, authorization: Option<&[u8]>) -> bool {
        self.shown_as(authorization) == ShownToken::Right
    }
}

/// The token that a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownToken {
    /// No token, as in a health check or from a browser. This does not count as a guess.
    None,
    /// Another token.
    Wrong,
    /// The administrator's token.
    Right,
}

/// The text of the token that a request carries (RFC 6750, section 2.1), if it is not empty.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    bearer_in(
        headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes),
    )
}

fn bearer_in(authorization: Option<&[u8]>) -> Option<&str> {
    let (scheme, token) = text_of(authorization?)?.trim_start().split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    Some(token.trim()).filter(|token| is_bearer && !token.is_empty())
}

/// The token in a file that `setting` names; `advice` says how to get one. If every user of the machine can read the file, a
/// warning is logged, because some orchestrators create only such files.
///
/// # Errors
/// If the file cannot be read, or does not contain a valid token.
pub fn read_token(
    setting: &'static str,
    file: &Path,
    advice: &str,
) -> anyhow::Result<SecretString> {
    require_chosen(setting, file)?;
    let shown = presentable_path(file);
    let failed = || format!("{setting}: cannot read '{shown}'");
    let opened = regular_file::open(file).with_context(failed)?;
    let metadata = opened.metadata().with_context(failed)?;
    if file_access::is_open_to_all(&metadata) {
        let mode = metadata.permissions().mode();
        tracing::warn!(
            security = true,
            file = %shown,
            mode = format!("{:04o}", mode & 0o7777),
            "every user of this machine can read the file named by {setting}; restrict it with \
             chmod 400"
        );
    }
    let text =
        SecretString::from(text_file::read_from(opened, MAX_FILE_BYTES).with_context(failed)?);
    let token = unquoted(text.expose_secret()).into();
    check(setting, &token, advice)?;
    Ok(token)
}

/// The message does not repeat the token.
fn check(setting: &str, token: &SecretString, advice: &str) -> anyhow::Result<()> {
    let text = token.expose_secret();
    let is_whole = text.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(
        is_whole && text.len() >= MIN_TOKEN_CHARS,
        "{setting}: expected a token of at least {MIN_TOKEN_CHARS} visible ASCII characters in one \
         line; {advice}"
    );
    Ok(())
}

/// Any value is accepted here: the library would print a rejected one.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature that the library requires"
)]
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
            token.shown_in(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
                == ShownToken::Right
        };
        assert!(with("Bearer 0123456789abcdef"));
        assert!(with("bearer  0123456789abcdef"));
        assert!(with("Bearer \"0123456789abcdef\""));
        assert!(!with("Bearer \"0123456789abcdef"));
        assert!(!with("Bearer 0123456789abcdeF"));
        assert!(!with("Basic 0123456789abcdef"));
        assert!(!with("Bearer "));
        assert_eq!(token.shown_in(&HeaderMap::new()), ShownToken::None);
        let shown = |value: &'static str| {
            let value = value.parse().unwrap();
            token.shown_in(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
        };
        assert_eq!(token.shown_in(&HeaderMap::new()), ShownToken::None);
        for none in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer    ",
            "Basic dXNlcjpwYXNz",
            "Digest x",
        ] {
            assert_eq!(shown(none), ShownToken::None, "{none}");
        }
        for wrong in [
            "Bearer x",
            "bearer 0123456789abcdeF",
            "BEARER  0123456789abcdef0",
        ] {
            assert_eq!(shown(wrong), ShownToken::Wrong, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_hash() {
        let token = AdminToken::new(&"0123456789abcdef".into());
        let text = token.hash_text();
        assert_eq!(text.len(), 64);
        assert!(AdminToken::of_hash(&text).unwrap().is("0123456789abcdef"));
        for none in [
            "",
            &text[2..],
            &format!("{text}00"),
            &text.replace('9', "g"),
        ] {
            assert!(AdminToken::of_hash(none).is_none(), "{none}");
        }
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

    #[test]
    fn a_file_of_a_token_is_trimmed_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let settings = AdminTokenSettings {
            admin_token: None,
            admin_token_file: Some(file.clone()),
        };
        for text in ["\n 0123456789abcdef \r\n", "\"0123456789abcdef\"\n"] {
            std::fs::write(&file, text).unwrap();
            assert!(settings.load().unwrap().unwrap().is("0123456789abcdef"));
        }
        // In the encoding of Windows editors and shells.
        let utf_16 = "\u{feff}0123456789abcdef\r\n".encode_utf16();
        let utf_16: Vec<u8> = utf_16.flat_map(u16::to_le_bytes).collect();
        for bytes in [&b"\xef\xbb\xbf0123456789abcdef\r\n"[..], &utf_16] {
            std::fs::write(&file, bytes).unwrap();
            assert!(settings.load().unwrap().unwrap().is("0123456789abcdef"));
        }
        std::fs::write(&file, "x".repeat(4097)).unwrap();
        let error = format!("{:#}", settings.load().err().unwrap());
        assert!(error.contains("longer than 4096 bytes"), "{error}");
        let endless = AdminTokenSettings {
            admin_token_file: Some("/dev/zero".into()),
            ..settings
        };
        assert!(endless.load().is_err());
    }
}
