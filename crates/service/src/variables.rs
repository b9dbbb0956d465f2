//! Settings from the environment and `.env`.
//!
//! [`load`] is the only reader: it removes what people and tools leave around values before
//! anything reads the environment, so that all commands and libraries see the same values.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, anyhow, bail};
use clap::Command;
use clap::builder::Resettable;

use crate::dot_env::{self, DotEnv};
use crate::presentable_url::presentable_path;
use crate::stderr::say;
use crate::trimmed::{trimmed, unquoted};
use crate::{libpq_variables, text_file};

/// Reads `.env` into the environment, and removes carriage returns, spaces, byte order marks, and
/// enclosing quotation marks around all values. Returns the result of reading `.env`. Variables of
/// libpq are ignored.
///
/// Call it before any thread is started: it sets environment variables.
///
/// # Errors
/// If `.env` cannot be read or a line is not a setting, and if the program cannot be started again
/// without the variables of libpq.
pub fn load(command: &Command) -> anyhow::Result<DotEnv> {
    libpq_variables::restart_without()?;
    let from_file = dot_env::load()?;
    let mut settings = Vec::new();
    note_settings(command, &mut settings);
    warn_of_misspelled(&settings);
    let in_files = values_in_files(&settings)?;
    refuse_comments(&settings, &from_file)?;
    let mut cleaned: String = std::env::vars_os()
        .filter_map(|(name, value)| {
            // A value that is not UTF-8 is not a setting, or is rejected where it is read.
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            let setting = settings.iter().find(|it| *it.name == *name);
            // The reader of `.env` has removed quotation marks.
            let clean = match from_file.variables.contains(&name) {
                true => trimmed(&value),
                false => unquoted(&value),
            };
            let clean = match setting.and_then(|it| it.delimiter) {
                Some(delimiter) => trimmed_list(clean, delimiter),
                None if is_service_link(&name, clean) => String::new(),
                None => clean.to_owned(),
            };
            (clean != value && dot_env::is_name(&name)).then(|| dot_env::line(&name, &clean))
        })
        .collect();
    cleaned.push_str(&in_files);
    let set = dotenvy::from_read_override(cleaned.as_bytes());
    // The library's own message would repeat the line.
    set.map_err(|_| anyhow!("the environment variables cannot be read"))?;
    Ok(from_file)
}

/// Settings whose values may contain anything.
const FREE_TEXTS: [&str; 2] = ["INSTALLATION_NAME", "ISSUER"];

/// Refuses values that end with a comment: `docker --env-file` and systemd's `EnvironmentFile` keep
/// it in the value, which then names another file or another database.
fn refuse_comments(settings: &[Setting], from_file: &DotEnv) -> anyhow::Result<()> {
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        let is_setting = settings.iter().any(|it| *it.name == *name);
        let may_contain_it = FREE_TEXTS.contains(&name) || name.ends_with("_QUERY");
        let is_clean = from_file.variables.iter().any(|it| it == name);
        if is_setting
            && !may_contain_it
            && !is_clean
            && [" #", "\t#"].iter().any(|it| value.contains(it))
        {
            bail!(
                "{name}: the value contains a comment (' #'), which docker --env-file and systemd's \
                 EnvironmentFile do not remove: put the comment on a line of its own"
            );
        }
    }
    Ok(())
}

/// Whether the variable comes from Kubernetes and is not a setting: a Service named `x` sets
/// `X_PORT` to a URL in all containers of its namespace.
fn is_service_link(name: &str, value: &str) -> bool {
    let schemes = ["tcp://", "udp://", "sctp://"];
    name.ends_with("_PORT") && schemes.iter().any(|scheme| value.starts_with(scheme))
}

/// An argument of the command line, trimmed.
#[must_use]
pub fn trimmed_argument(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) => trimmed(text).into(),
        None => argument,
    }
}

/// Each entry, trimmed; empty entries are skipped.
fn trimmed_list(value: &str, delimiter: char) -> String {
    let entries = value.split(delimiter).map(unquoted);
    let entries: Vec<&str> = entries.filter(|entry| !entry.is_empty()).collect();
    entries.join(&delimiter.to_string())
}

/// A setting of the program.
struct Setting {
    name: OsString,
    /// What separates the entries, if it is a list.
    delimiter: Option<char>,
}

fn note_settings(command: &Command, settings: &mut Vec<Setting>) {
    for argument in command.get_arguments() {
        if let Some(name) = argument.get_env() {
            settings.push(Setting {
                name: name.to_owned(),
                delimiter: argument.get_value_delimiter(),
            });
        }
    }
    for command in command.get_subcommands() {
        note_settings(command, settings);
    }
}

/// Settings that contain a secret, so that images and orchestrators provide them as files.
const READ_FROM_FILES: [&str; 1] = ["DATABASE_URL"];

/// The lines that set what is in files named by variables such as `DATABASE_URL_FILE`. Other images
/// read every setting from such a file; where this program does not, it must not start with a
/// default in place of what the file contains.
///
/// # Errors
/// If a file cannot be read, a setting is also set directly, or it has no such form.
fn values_in_files(settings: &[Setting]) -> anyhow::Result<String> {
    let mut lines = String::new();
    for (variable, path) in std::env::vars_os() {
        let is_setting = |name: &str| settings.iter().any(|it| *it.name == *name);
        let Some(variable) = variable.to_str().filter(|it| !is_setting(it)) else {
            continue;
        };
        let name = variable.strip_suffix("_FILE");
        // LOG_FILE may be meant for another program.
        let name = name.filter(|it| is_setting(it) && it.len() >= MIN_COMPARED);
        let (Some(name), false) = (name, path.is_empty()) else {
            continue;
        };
        if !READ_FROM_FILES.contains(&name) {
            bail!("{variable} is not a setting: set {name} itself, and unset {variable}");
        }
        if is_set_to_something(name.as_ref()) {
            bail!("{name} and {variable} are both set; unset one of them");
        }
        let path = trimmed_argument(path);
        let text = text_file::read(path.as_ref()).with_context(|| {
            let path = presentable_path(path.as_ref());
            format!("{variable}: the file '{path}' cannot be read")
        })?;
        let value = trimmed(&text);
        // There is only one such setting, and it is read only once.
        let _ = FROM_FILE.set((path.into(), value.to_owned()));
        lines.push_str(&dot_env::line(name, value));
    }
    Ok(lines)
}

/// The file of [`READ_FROM_FILES`], and what it contained.
static FROM_FILE: OnceLock<(PathBuf, String)> = OnceLock::new();

/// The file from which the setting with this value was read, if it was read from a file.
pub(crate) fn source_of(value: &str) -> Option<&'static Path> {
    let (file, content) = FROM_FILE.get()?;
    (content == value).then_some(file)
}

/// Minimum length of a setting for which a similar name is a mistake, rather than the name of
/// something else.
const MIN_COMPARED: usize = 6;
/// The number of wrong letters up to which a similar name is a mistake.
const MAX_DISTANCE: usize = 2;

/// Warns of variables that are no settings but differ in one or two letters from one that is not
/// set.
fn warn_of_misspelled(settings: &[Setting]) {
    for (variable, _) in std::env::vars_os() {
        let Some(variable) = variable.to_str() else {
            continue;
        };
        if let Some(name) = misspelled(variable, settings).filter(|it| !is_set_to_something(it)) {
            let name = name.display();
            say(format_args!(
                "warning: {variable} is not a setting of this program; did you mean {name}?"
            ));
        }
    }
}

/// The setting that a variable resembles.
fn misspelled<'a>(variable: &str, settings: &'a [Setting]) -> Option<&'a OsStr> {
    let names = settings.iter().filter_map(|it| it.name.to_str());
    // Comparing texts costs more than anything else at the start of a command. Names whose lengths
    // differ by more are further apart.
    let names = names.filter(|name| {
        name.len() >= MIN_COMPARED && name.len().abs_diff(variable.len()) <= MAX_DISTANCE
    });
    let mut distances = names.map(|name| (strsim::damerau_levenshtein(variable, name), name));
    let is_near = |(distance, _): &(usize, &str)| (1..=MAX_DISTANCE).contains(distance);
    let is_setting = settings.iter().any(|it| *it.name == *variable);
    let near = distances.find(is_near);
    near.filter(|_| !is_setting).map(|(_, name)| name.as_ref())
}

/// Settings whose default permits more than any value, each with what to write instead of nothing.
/// An empty value of theirs is an error: its author may have wanted to permit nothing, or named a
/// variable that does not exist. Version 1.0.0 has none of them.
const NEVER_EMPTY: [(&str, &str); 3] = [
    ("TRUSTED_NETWORKS", "write 'none' to trust no network"),
    (
        "LICENSE_TRUSTED_KEYS",
        "specify the file with the vendor's keys",
    ),
    ("GATE_ROUTES", "specify the routes file"),
];

/// What to write instead of an empty value that is an error.
pub(crate) fn instead_of_nothing(variable: &OsStr) -> Option<&'static str> {
    let mut settings = NEVER_EMPTY.into_iter();
    settings.find_map(|(name, advice)| (variable == name).then_some(advice))
}

/// Treats empty variables as not set: compose files pass on variables that do not exist.
#[must_use]
pub fn without_empty_variables(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let is_empty =
                |variable| is_set_to_nothing(variable) && instead_of_nothing(variable).is_none();
            if argument.get_env().is_some_and(is_empty) {
                argument.env(Resettable::Reset)
            } else {
                argument
            }
        })
        .mut_subcommands(without_empty_variables)
}

#[expect(clippy::disallowed_methods, reason = "this is where settings come in")]
fn is_set_to_something(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "this is where settings come in")]
fn is_set_to_nothing(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}

/// Whether the value of a variable is not UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is where settings come in")]
pub(crate) fn is_without_utf8(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.to_str().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_kubernetes_service_are_no_settings() {
        for (name, value, is_link) in [
            ("EXT_AUTHZ_PORT", "tcp://10.43.0.1:8011", true),
            ("EXT_AUTHZ_PORT", "udp://10.43.0.1:53", true),
            ("EXT_AUTHZ_PORT", "8011", false),
            ("DATABASE_URL", "tcp://10.43.0.1:5432", false),
        ] {
            assert_eq!(is_service_link(name, value), is_link, "{name}={value}");
        }
    }

    #[test]
    fn names_with_one_or_two_wrong_letters_are_mistakes() {
        let setting = |name: &str| Setting {
            name: name.into(),
            delimiter: None,
        };
        let settings = ["DATABASE_URL", "LICENSE_TRUSTED_KEYS", "PORT", "LOG_FORMAT"].map(setting);
        for (variable, meant) in [
            ("DATABSE_URL", Some("DATABASE_URL")),
            ("DATABASE_URI", Some("DATABASE_URL")),
            ("LICENSE_TRUSTED_KEY", Some("LICENSE_TRUSTED_KEYS")),
            ("LOGFORMAT", Some("LOG_FORMAT")),
            ("DATABASE_URL", None),
            ("DATABASE", None),
            ("PORTS", None),
            ("PATH", None),
        ] {
            let found = misspelled(variable, &settings);
            assert_eq!(found, meant.map(OsStr::new), "{variable}");
        }
    }

    #[test]
    fn what_is_around_a_value_is_no_part_of_it() {
        for around in [
            "",
            "\r",
            " ",
            "\t",
            "\r\n",
            "\u{feff}",
            "\u{a0}",
            "\u{200b}",
            "\u{1a} \r",
        ] {
            for value in ["", "a", "p#ss w\u{200b}ö\rd", "\"quoted \""] {
                assert_eq!(trimmed(&format!("{around}{value}{around}")), value);
            }
            let list = format!("{around}a{around},{around},{around}b c{around},");
            assert_eq!(trimmed_list(&list, ','), "a,b c", "{around:?}");
            let list = format!("\"a{around}\",{around}'b c'");
            assert_eq!(trimmed_list(&list, ','), "a,b c", "{around:?}");
            let argument = format!("--port=80{around}");
            assert_eq!(trimmed_argument(argument.into()), "--port=80");
        }
    }
}
