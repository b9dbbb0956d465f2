//! A secret that a command needs, such as a license key: from standard input,
//! from a prompt that does not echo, or as an argument, which every user of
//! the machine can see.

use std::convert::Infallible;
use std::fmt;
use std::io::{IsTerminal as _, Read};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use license_core::text_encoding::decode;
use secrecy::{ExposeSecret as _, SecretString};

use crate::stderr::say;

/// The argument that stands for standard input.
const STDIN: &str = "-";
/// Maximum size of a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 4096;

/// A secret as it was given on the command line; `-` is standard input.
#[derive(Clone)]
pub struct SecretArgument(SecretString);

impl FromStr for SecretArgument {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for SecretArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl SecretArgument {
    /// The secret, without the white space around it. `what` names it, such as `license key`. If
    /// the secret is an argument, a warning is printed to standard error.
    ///
    /// # Errors
    /// If standard input cannot be read, or its first line is missing or too long.
    pub fn read(self, what: &str) -> anyhow::Result<String> {
        if !self.is_stdin() {
            warn_of_argument(what);
        }
        self.read_without_warning(what)
    }

    /// The same for an argument that may be something other than a secret.
    ///
    /// # Errors
    /// As [`SecretArgument::read`].
    pub fn read_without_warning(self, what: &str) -> anyhow::Result<String> {
        if self.is_stdin() {
            return first_line(std::io::stdin().lock(), what);
        }
        Ok(self.0.expose_secret().trim().to_owned())
    }

    /// Whether it is read from standard input.
    #[must_use]
    pub fn is_stdin(&self) -> bool {
        self.0.expose_secret() == STDIN
    }

    /// The same for an optional argument: if it is missing, prompts on the terminal without echo.
    ///
    /// # Errors
    /// As [`SecretArgument::read`], and when there is no terminal to ask.
    pub fn read_or_ask(argument: Option<Self>, what: &str) -> anyhow::Result<String> {
        match argument {
            Some(argument) => argument.read(what),
            None if std::io::stdin().is_terminal() => {
                let asked = rpassword::prompt_password(format!("{}: ", capitalised(what)));
                let typed = SecretString::from(asked.context("the terminal cannot be read")?);
                first_line(typed.expose_secret().as_bytes(), what)
            }
            None => bail!("no {what}: pass one, or - to read it from standard input"),
        }
    }
}

/// Warns on standard error about a secret that was passed as an argument.
pub fn warn_of_argument(what: &str) {
    say(format_args!(
        "warning: every user of this machine can see the {what} on the command line; \
         use - to read it from standard input"
    ));
}

/// Reads only the first line, in any text encoding, because a pipe may stay open.
fn first_line(input: impl Read, what: &str) -> anyhow::Result<String> {
    let mut line = Vec::new();
    // A line feed in UTF-16 or UTF-32 has several bytes.
    let is_over = |line: &[u8]| {
        let is_wide = line.contains(&0);
        match line.last() {
            Some(b'\n') if !is_wide => true,
            Some(b'\n' | 0) => decode(line).is_ok_and(|text| text.ends_with('\n')),
            _ => false,
        }
    };
    for byte in std::io::BufReader::new(input)
        .take(MAX_SECRET_BYTES + 1)
        .bytes()
    {
        line.push(byte.context("standard input cannot be read")?);
        if is_over(&line) {
            break;
        }
    }
    ensure!(
        line.len() as u64 <= MAX_SECRET_BYTES,
        "the {what} is longer than {MAX_SECRET_BYTES} bytes"
    );
    let line = decode(&line).with_context(|| format!("the {what} cannot be read"))?;
    let line = line.lines().next().unwrap_or_default().trim();
    ensure!(!line.is_empty(), "no {what}: the first line is empty");
    Ok(line.to_owned())
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_read_up_to_a_bound() {
        let read = |text: &[u8]| first_line(text, "license key").map_err(|error| error.to_string());
        assert_eq!(read(b" FXSGHT-1 \r\nmore\n"), Ok("FXSGHT-1".to_owned()));
        assert_eq!(read(b"FXSGHT-1"), Ok("FXSGHT-1".to_owned()));
        let empty = "no license key: the first line is empty".to_owned();
        assert_eq!(read(b"\nFXSGHT-1\n"), Err(empty.clone()));
        assert_eq!(read(b""), Err(empty));
        for line in [
            &b"\xef\xbb\xbfFXSGHT-1\nmore\n"[..],
            b"\xff\xfeF\0X\0S\0G\0H\0T\0-\x001\0\r\0\n\0m\0",
            b"\xfe\xff\0F\0X\0S\0G\0H\0T\0-\x001\0\n\0m",
            b"F\0X\0S\0G\0H\0T\0-\x001\0\n\0",
        ] {
            assert_eq!(read(line), Ok("FXSGHT-1".to_owned()), "{line:x?}");
        }
        // The rest after the line is not read: it may be anything.
        assert_eq!(read(b"FXSGHT-1\n\xff\0"), Ok("FXSGHT-1".to_owned()));
        assert_eq!(
            read(b"PK\x03\x04"),
            Err("the license key cannot be read".to_owned())
        );
        let error = first_line(std::io::repeat(b'x'), "license key").unwrap_err();
        assert!(error.to_string().contains("longer than 4096"), "{error}");
    }

    #[test]
    fn it_is_not_shown() {
        let secret: SecretArgument = "hunter2".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "****");
    }
}
