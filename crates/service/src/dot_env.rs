//! Settings from a file.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use crate::text_file;
use crate::trimmed::{trimmed, unquoted};

/// Reads `.env` of the current directory, if there is one, into the
/// environment, and answers which variables it has set. Those that are already
/// set keep their values.
///
/// Call it before any thread is started: it sets environment variables.
///
/// # Errors
/// When the file cannot be read or a line is no setting.
pub fn load() -> anyhow::Result<Vec<String>> {
    let file = Path::new(".env");
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = text_file::read(file).context("the file .env cannot be read")?;
    let settings = parse(&text)?;
    let lines = settings.iter().map(|(name, value)| line(name, value));
    let quoted: String = lines.collect();
    let missing = settings.into_iter().map(|(name, _)| name);
    let missing = missing.filter(|name| !is_set(name)).collect();
    // The library's own words would repeat the line.
    dotenvy::from_read(quoted.as_bytes()).map_err(|_| anyhow!("the file .env cannot be read"))?;
    Ok(missing)
}

/// Reads lines as the Python service did: a value need not be quoted to hold
/// spaces, and a `$` is a `$`.
fn parse(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = trimmed(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || {
            let number = index + 1;
            anyhow!("the file .env, line {number}: expected NAME=value or NAME='value'")
        };
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or_else(wrong)?;
        let name = trimmed(name);
        if !is_name(name) {
            return Err(wrong());
        }
        let value = value_of(trimmed(value)).filter(|value| !value.contains('\0'));
        settings.push((name.to_owned(), value.ok_or_else(wrong)?));
    }
    Ok(settings)
}

/// Whether a variable may have this name.
pub(crate) fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_part) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The value without its quotes, or without the remark behind it.
fn value_of(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('\'') {
        let (value, after) = rest.split_once('\'')?;
        return is_remark(after).then(|| value.to_owned());
    }
    if let Some(rest) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut rest = rest.chars();
        loop {
            match rest.next()? {
                '"' => return is_remark(rest.as_str()).then_some(value),
                '\\' => match rest.next()? {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
    }
    let value = text.split_once(" #").map_or(text, |(value, _)| value);
    // Straight quotation marks are read above, these are those of a desktop.
    Some(unquoted(value).to_owned())
}

fn is_remark(text: &str) -> bool {
    let text = text.trim_start();
    text.is_empty() || text.starts_with('#')
}

/// A line that the library which sets the environment reads to the letter.
pub(crate) fn line(name: &str, value: &str) -> String {
    format!("{name}={}\n", quoted(value))
}

/// The value as the library that sets the environment reads it to the letter.
fn quoted(value: &str) -> String {
    let mut quoted = String::from('"');
    for c in value.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '"' | '\\' | '$' => quoted.extend(['\\', c]),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[expect(clippy::disallowed_methods, reason = "this is where settings come in")]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_and_without_quotes_and_dollars_stay() {
        let text = "# remark\n\nA=two words # remark\nexport B='it is $5 # not a remark'\n\
                    C=\"say \\\"hi\\\"\"  # remark\nD=\nE=p$ss#word\n F = x \n\
                    G=\u{201c}/data\u{201d} # remark\n";
        let expected = [
            ("A", "two words"),
            ("B", "it is $5 # not a remark"),
            ("C", "say \"hi\""),
            ("D", ""),
            ("E", "p$ss#word"),
            ("F", "x"),
            ("G", "/data"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_is_set_is_what_was_written() {
        for value in [
            "",
            "p$ss#w'o\"r\\d",
            "two  words",
            "${HOME}",
            "a\nb",
            "a\rb\u{feff}",
        ] {
            let text = line("X", value);
            let read: Vec<_> = dotenvy::from_read_iter(text.as_bytes()).collect();
            let read = read.into_iter().next().unwrap().unwrap();
            assert_eq!(read, ("X".to_owned(), value.to_owned()));
        }
    }

    #[test]
    fn a_line_that_is_no_setting_is_named() {
        for text in [
            "X=1\nhunter2\n",
            "X=1\n=hunter2\n",
            "X=1\nA B=hunter2",
            "X=1\nY='hunter2",
            "X=1\n2X=hunter2",
            "X=1\nY=hunter2\0",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains("line 2"), "{text}: {error}");
            assert!(
                !format!("{error:#} {error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }
}
