//! A secret that a command needs, such as a license key: from standard input,
//! from a prompt that does not echo, or as an argument, which every user of
//! the machine can see.

use std::convert::Infallible;
use std::fmt;
use std::io::{ErrorKind, IsTerminal as _, Read};
use std::str::FromStr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use license_core::text_encoding::decode;
use secrecy::{ExposeSecret as _, SecretString};

use crate::stderr::say;

/// The argument that stands for standard input.
const STDIN: &str = "-";
/// Maximum size of a secret, in bytes.
const MAX_SECRET_BYTES: usize = 4096;

/// How long to wait for the lines after an incomplete first one: a pipe may stay open.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// What a secret looks like.
#[derive(Clone, Copy, Debug)]
pub struct SecretForm {
    /// Its name, such as `license key`.
    pub name: &'static str,
    /// Its form, for people.
    pub example: &'static str,
    /// The secret in a text of one or several lines; `None` if the text contains none, or only a
    /// part of it.
    pub find: fn(&str) -> Option<String>,
}

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
    /// The secret, without the white space around it. If it is an argument, a warning is printed to
    /// standard error. From standard input, it is the first line, or what `form` finds in the first
    /// few lines.
    ///
    /// # Errors
    /// If standard input cannot be read, or its first line is missing or too long.
    pub fn read(self, form: SecretForm) -> anyhow::Result<String> {
        if self.is_stdin() {
            return piped(std::io::stdin(), form, REST_TIMEOUT);
        }
        warn_of_argument(form.name);
        self.read_without_warning(form.name)
    }

    /// The same for an argument that may be something other than a secret, which `what` names: from
    /// standard input, the first line.
    ///
    /// # Errors
    /// As [`SecretArgument::read`].
    pub fn read_without_warning(self, what: &str) -> anyhow::Result<String> {
        if self.is_stdin() {
            let mut bytes = Vec::new();
            add_line(&mut std::io::stdin().lock(), &mut bytes)?;
            return first_line(&bytes, what);
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
    pub fn read_or_ask(argument: Option<Self>, form: SecretForm) -> anyhow::Result<String> {
        let what = form.name;
        match argument {
            Some(argument) => argument.read(form),
            None if std::io::stdin().is_terminal() => {
                let asked = rpassword::prompt_password(format!("{}: ", capitalised(what)));
                let typed = SecretString::from(asked.context("the terminal cannot be read")?);
                first_line(typed.expose_secret().as_bytes(), what)
            }
            None => bail!("no {what}: pass it as an argument, or - to read it from standard input"),
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

/// The first line of `input` if `form` finds a secret in it, or else what it finds in this line
/// together with the following ones. If it finds nothing within `timeout`, the first line.
fn piped(
    mut input: impl Read + Send + 'static,
    form: SecretForm,
    timeout: Duration,
) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let has_ended = !add_line(&mut input, &mut bytes)?;
    let first = first_line(&bytes, form.name);
    let is_whole = first.as_ref().is_ok_and(|line| (form.find)(line).is_some());
    if has_ended || is_whole {
        return first;
    }
    match read_on(input, bytes, form.find).recv_timeout(timeout) {
        Ok(Some(secret)) => return Ok(secret),
        Err(RecvTimeoutError::Disconnected) => {}
        Ok(None) | Err(RecvTimeoutError::Timeout) if first.is_ok() => say(format_args!(
            "note: only the first line was read, and it is not in the form {}",
            form.example
        )),
        Ok(None) | Err(RecvTimeoutError::Timeout) => {}
    }
    first
}

/// Reads the lines after the first one until there is a secret in all of them together. Sends it, or
/// `None` if there were more lines but no secret.
fn read_on(
    mut input: impl Read + Send + 'static,
    mut bytes: Vec<u8>,
    find: fn(&str) -> Option<String>,
) -> mpsc::Receiver<Option<String>> {
    let (sender, found) = mpsc::channel();
    let first_bytes = bytes.len();
    std::thread::spawn(move || {
        let mut secret = None;
        while secret.is_none() && add_line(&mut input, &mut bytes).unwrap_or(false) {
            secret = decode(&bytes).ok().and_then(|text| find(&text));
        }
        let last = || decode(&bytes).ok().and_then(|text| find(&text));
        if bytes.len() > first_bytes {
            // If the caller has stopped waiting, the program goes on without the secret.
            let _ = sender.send(secret.or_else(last));
        }
    });
    found
}

/// Adds bytes up to the end of the next line, in any text encoding, to those that were read before.
/// Returns false if the input ends before that, or there are more than [`MAX_SECRET_BYTES`].
fn add_line(input: &mut impl Read, bytes: &mut Vec<u8>) -> anyhow::Result<bool> {
    // A line feed in UTF-16 or UTF-32 has several bytes.
    let is_over = |bytes: &[u8]| {
        let is_wide = bytes.contains(&0);
        match bytes.last() {
            Some(b'\n') if !is_wide => true,
            Some(b'\n' | 0) => decode(bytes).is_ok_and(|text| text.ends_with('\n')),
            _ => false,
        }
    };
    while bytes.len() <= MAX_SECRET_BYTES {
        let mut byte = [0];
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => bytes.extend(byte),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("standard input cannot be read"),
        }
        if is_over(bytes) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first line of what was read, without the white space around it.
fn first_line(bytes: &[u8], what: &str) -> anyhow::Result<String> {
    ensure!(
        bytes.len() <= MAX_SECRET_BYTES,
        "the {what} is longer than {MAX_SECRET_BYTES} bytes"
    );
    let text = decode(bytes).with_context(|| format!("the {what} cannot be read"))?;
    let line = text.lines().next().unwrap_or_default().trim();
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
        let read = |mut text: &[u8]| {
            let mut bytes = Vec::new();
            add_line(&mut text, &mut bytes).unwrap();
            first_line(&bytes, "license key").map_err(|error| error.to_string())
        };
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
        let error = piped(std::io::repeat(b'x'), FORM, REST_TIMEOUT).unwrap_err();
        assert!(error.to_string().contains("longer than 4096"), "{error}");
    }

    /// Eight letters, in one or several groups.
    const FORM: SecretForm = SecretForm {
        name: "license key",
        example: "K-XXXX-XXXX",
        find: |text| {
            let text: String = text.split_whitespace().collect();
            let key = text.get(text.find("K-")?..)?.get(..11)?;
            Some(key.to_owned())
        },
    };

    #[test]
    fn a_secret_that_is_not_in_the_first_line_is_found_in_those_after_it() {
        let read = |text: &'static [u8]| {
            piped(text, FORM, Duration::MAX).map_err(|error| error.to_string())
        };
        let key = || Ok("K-ABCD-EFGH".to_owned());
        for text in [
            &b"K-ABCD-EFGH"[..],
            b"K-ABCD-EFGH\nmore\n",
            b"K-ABCD-\nEFGH\n",
            b"K-ABCD\r\n-EFGH",
            b"Dear customer,\n\nyour key:\n  K-ABCD-EFGH\nRegards",
            b"\nK-ABCD-EFGH\n",
            b"\xff\xfeK\0-\0A\0B\0C\0D\0-\0\n\0E\0F\0G\0H\0",
        ] {
            assert_eq!(read(text), key(), "{text:x?}");
        }
        for text in [
            &b"other\n"[..],
            b"other\nmore\n",
            b"other\n\xff\0",
            b"other",
        ] {
            assert_eq!(read(text), Ok("other".to_owned()), "{text:x?}");
        }
        let late = [b"other\n", &[b'x'; 5000][..], b"\nK-ABCD-EFGH\n"].concat();
        assert_eq!(read(late.leak()), Ok("other".to_owned()));
        let empty = "no license key: the first line is empty".to_owned();
        assert_eq!(read(b"\nmore\n"), Err(empty));
    }

    #[test]
    fn a_pipe_that_stays_open_is_not_waited_for() {
        use std::io::Write as _;
        use std::os::unix::net::UnixStream;

        for (line, timeout) in [
            ("K-ABCD-EFGH", Duration::MAX),
            ("other", Duration::from_millis(1)),
        ] {
            let (mut writer, reader) = UnixStream::pair().unwrap();
            writeln!(writer, "{line}").unwrap();
            assert_eq!(piped(reader, FORM, timeout).unwrap(), line);
        }
    }

    #[test]
    fn it_is_not_shown() {
        let secret: SecretArgument = "hunter2".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "****");
    }
}
