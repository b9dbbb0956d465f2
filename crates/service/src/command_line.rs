//! Parses a command line without showing a secret in an error, in `--help`, or in the machine's
//! list of processes.
//!
//! The type of an argument marks it as a secret, so that no setting can be forgotten.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use license_core::foreign_text::escaped;
use secrecy::SecretString;

use crate::database_url::DatabaseUrl;
use crate::presentable_url::{HIDDEN, SecretUrl, presentable, presentable_path, presentable_value};
use crate::secret_argument::SecretArgument;
use crate::stderr::say;
use crate::trimmed::has_outer_quote;
use crate::unexpanded_path::placeholder;
use crate::variables::{
    instead_of_nothing, is_without_utf8, trimmed_argument, without_empty_variables,
};

/// An error on the command line or in the environment.
#[derive(Debug)]
pub enum Mistake {
    /// A single line: the setting, its value unless it may be a secret, and what is expected.
    Line(String),
    /// Any other error, in the library's wording; also `--help`.
    Usage(Box<clap::Error>),
}

impl Mistake {
    /// Prints the error, and exits with 2, or with 0 after `--help`.
    pub fn exit(self) -> ! {
        match self {
            Self::Line(line) => {
                say(format_args!("error: {line}"));
                std::process::exit(2)
            }
            Self::Usage(error) => error.exit(),
        }
    }
}

/// Parses a command line and the environment. Also returns the warnings that the caller has to
/// print.
///
/// # Errors
/// A [`Mistake`], which shows no secret. A token passed as an argument is one.
pub fn read(
    command: Command,
    arguments: impl Iterator<Item = OsString>,
) -> Result<(ArgMatches, Vec<String>), Mistake> {
    let mut command = without_secret_values(without_empty_variables(command));
    let arguments: Vec<OsString> = arguments.map(trimmed_argument).collect();
    let matches = command
        .try_get_matches_from_mut(&arguments)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidUtf8 => Mistake::Line(not_utf8(&command, &arguments)),
            _ => mistake(&command, error),
        })?;
    let mut warnings = Vec::new();
    look_at_arguments(&command, &matches, &mut warnings)?;
    Ok((matches, warnings))
}

/// The displayable value of a setting.
#[must_use]
pub fn presentable_argument(argument: &Arg, value: &str) -> String {
    let is = |id| argument.get_value_parser().type_id() == id;
    if is(TypeId::of::<SecretUrl>()) {
        presentable(value)
    } else if is(TypeId::of::<DatabaseUrl>()) {
        let url = value.parse::<DatabaseUrl>();
        url.map_or_else(|_| HIDDEN.to_owned(), |url| url.to_string())
    } else if is_secret(argument) {
        HIDDEN.to_owned()
    } else if is(TypeId::of::<PathBuf>()) {
        presentable_path(Path::new(value))
    } else {
        presentable_value(value)
    }
}

/// Whether the values of an argument may be secrets.
fn is_secret(argument: &Arg) -> bool {
    let parser = argument.get_value_parser();
    [
        TypeId::of::<DatabaseUrl>(),
        TypeId::of::<SecretArgument>(),
        TypeId::of::<SecretString>(),
        TypeId::of::<SecretUrl>(),
    ]
    .into_iter()
    .any(|id| parser.type_id() == id)
}

/// By default, `--help` shows values from the environment.
fn without_secret_values(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let hide = argument.is_hide_env_values_set() || is_secret(&argument);
            argument.hide_env_values(hide)
        })
        .mut_subcommands(without_secret_values)
}

/// Refuses paths in settings with placeholders that nothing has expanded. Files that are only
/// arguments are named by people in a shell.
fn check_expanded(argument: &Arg, matches: &ArgMatches) -> Result<(), Mistake> {
    let id = argument.get_id().as_str();
    let is_set = matches!(
        matches.try_contains_id(id),
        Ok(true) if matches.value_source(id) != Some(ValueSource::DefaultValue)
    );
    if !is_set || argument.get_env().is_none() {
        return Ok(());
    }
    let path = matches.try_get_one::<PathBuf>(id).ok().flatten();
    let database = matches.try_get_one::<DatabaseUrl>(id).ok().flatten();
    let path = path
        .map(PathBuf::as_path)
        .or_else(|| database?.sqlite_file());
    let found = path.and_then(Path::to_str).and_then(placeholder);
    let (Some(path), Some(found)) = (path, found) else {
        return Ok(());
    };
    Err(Mistake::Line(format!(
        "{}: the path '{}' contains '{}', which nothing has replaced here; write the full path",
        variable(argument),
        presentable_path(path),
        escaped(found)
    )))
}

/// Every user of a machine can see the arguments of its processes.
fn look_at_arguments(
    command: &Command,
    matches: &ArgMatches,
    warnings: &mut Vec<String>,
) -> Result<(), Mistake> {
    for argument in command.get_arguments() {
        check_expanded(argument, matches)?;
        let id = argument.get_id().as_str();
        let is_given = matches!(
            matches.try_contains_id(id),
            Ok(true) if matches.value_source(id) == Some(ValueSource::CommandLine)
        );
        if !is_given {
            continue;
        }
        let flag = argument.get_long().unwrap_or(id);
        if argument.get_value_parser().type_id() == TypeId::of::<SecretString>() {
            return Err(Mistake::Line(format!(
                "--{flag} is not accepted, because every user of this machine can see the arguments of a program; \
                 put the token into a file that only the service can read and name it with --{flag}-file, \
                 or set the environment variable {}",
                variable(argument)
            )));
        }
        let url = matches.try_get_one::<SecretUrl>(id).ok().flatten();
        let database = matches.try_get_one::<DatabaseUrl>(id).ok().flatten();
        if url.is_some_and(SecretUrl::may_contain_secret)
            || database.is_some_and(DatabaseUrl::may_contain_secret)
        {
            let warning = format!(
                "warning: every user of this machine can see the password in --{flag}; \
                 set the environment variable {} instead",
                variable(argument)
            );
            // Flags of all subcommands belong to the program as well.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    match matches.subcommand() {
        Some((name, matches)) => command.find_subcommand(name).map_or(Ok(()), |command| {
            look_at_arguments(command, matches, warnings)
        }),
        None => Ok(()),
    }
}

/// Names the settings and arguments that are not UTF-8. The library does not name them.
fn not_utf8(command: &Command, arguments: &[OsString]) -> String {
    let mut names = BTreeSet::new();
    note_variables_without_utf8(command, &mut names);
    for (index, argument) in arguments.iter().enumerate() {
        if argument.to_str().is_some() {
            continue;
        }
        // A value may be a secret.
        let text = argument.to_string_lossy();
        let before = index.checked_sub(1).and_then(|it| arguments[it].to_str());
        names.insert(match (text.split_once('='), before) {
            (Some((flag, _)), _) if flag.starts_with("--") => flag.to_owned(),
            (_, Some(flag)) if flag.starts_with("--") => format!("the argument after {flag}"),
            _ => format!("argument {index}"),
        });
    }
    let names: Vec<String> = names.into_iter().collect();
    format!(
        "{} must be in UTF-8 ('iconv -f latin1 -t utf8 FILE' converts a file in Latin-1)",
        names.join(", ")
    )
}

fn note_variables_without_utf8(command: &Command, names: &mut BTreeSet<String>) {
    for argument in command.get_arguments() {
        let is_path = argument.get_value_parser().type_id() == TypeId::of::<PathBuf>();
        if !is_path && argument.get_env().is_some_and(is_without_utf8) {
            names.insert(variable(argument));
        }
    }
    for command in command.get_subcommands() {
        note_variables_without_utf8(command, names);
    }
}

fn variable(argument: &Arg) -> String {
    let name = argument.get_env().unwrap_or_default();
    name.display().to_string()
}

fn mistake(command: &Command, mut error: clap::Error) -> Mistake {
    if let Some(line) = setting(command, &error) {
        return Mistake::Line(line);
    }
    // A value typed in the wrong place may also be a secret.
    let is_extra_argument = error.kind() == ErrorKind::UnknownArgument;
    for kind in [
        ContextKind::InvalidArg,
        ContextKind::InvalidValue,
        ContextKind::InvalidSubcommand,
    ] {
        let Some(ContextValue::String(text)) = error.get(kind) else {
            continue;
        };
        let may_be_secret =
            text.contains(['@', ':']) || is_extra_argument && !text.starts_with('-');
        let shown = match may_be_secret {
            true => HIDDEN.to_owned(),
            false => escaped(text),
        };
        error.insert(kind, ContextValue::String(shown));
    }
    Mistake::Usage(Box::new(error))
}

/// One line that names the variable, the value, and the expected values; `None` for other errors.
fn setting(command: &Command, error: &clap::Error) -> Option<String> {
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return None;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    // `--port <PORT>`
    let flag = text(ContextKind::InvalidArg)?.split_whitespace().next()?;
    let argument = argument(command, flag.trim_start_matches("--"))?;
    let variable = argument.get_env()?;
    let instead = instead_of_nothing(variable);
    let variable = variable.display();
    let raw = text(ContextKind::InvalidValue)?;
    if let Some(instead) = instead.filter(|_| raw.is_empty()) {
        return Some(format!(
            "{variable} is empty: {instead}, or remove the setting"
        ));
    }
    let quote = match has_outer_quote(raw) {
        true => "; remove the quotation mark at its beginning or end",
        false => "",
    };
    let value = if argument.is_hide_env_values_set() {
        "is malformed (its value is not shown)".to_owned()
    } else {
        format!("is '{}'", presentable_value(raw))
    };
    let why = match error.source() {
        Some(source) => source.to_string(),
        None => accepted(argument),
    };
    Some(format!("{variable} ({flag}) {value}: {why}{quote}"))
}

fn argument<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    let mut arguments = command.get_arguments();
    let here = arguments.find(|argument| argument.get_long() == Some(long));
    here.or_else(|| {
        let mut subcommands = command.get_subcommands();
        subcommands.find_map(|command| argument(command, long))
    })
}

fn accepted(argument: &Arg) -> String {
    let values = argument.get_possible_values();
    let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
    match names.split_last() {
        Some((last, [])) => format!("expected {last}"),
        Some((last, others)) => format!("expected {} or {last}", others.join(", ")),
        None => "not accepted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, CommandFactory as _, Parser};

    use super::*;
    use crate::admin_token::AdminTokenSettings;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: Sub,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Sub {
        Run(Run),
    }

    #[derive(Debug, Args)]
    struct Run {
        #[arg(long, env = "TEST_DATABASE_URL_OF_NOBODY")]
        database_url: Option<DatabaseUrl>,
        #[command(flatten)]
        admin_token: AdminTokenSettings,
        key: Option<SecretArgument>,
    }

    fn read_line(arguments: &[&str]) -> Result<(ArgMatches, Vec<String>), Mistake> {
        let arguments = ["program", "run"].iter().chain(arguments);
        read(Program::command(), arguments.map(OsString::from))
    }

    fn said(mistake: Mistake) -> String {
        match mistake {
            Mistake::Line(line) => line,
            Mistake::Usage(error) => error.to_string(),
        }
    }

    #[test]
    fn a_token_as_an_argument_is_refused_with_what_to_do_instead() {
        for arguments in [
            &["--admin-token", "hunter2hunter2hunter2"][..],
            &["--admin-token=hunter2hunter2hunter2"],
        ] {
            let line = said(read_line(arguments).unwrap_err());
            assert!(line.contains("--admin-token-file"), "{line}");
            assert!(line.contains("environment variable ADMIN_TOKEN"), "{line}");
            assert!(!line.contains("hunter2"), "{line}");
        }
    }

    #[test]
    fn a_password_as_an_argument_is_warned_of() {
        let (_, warnings) = read_line(&["--database-url", "postgresql://u:hunter2@h/d"]).unwrap();
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}");
        };
        assert!(warning.contains("TEST_DATABASE_URL_OF_NOBODY"), "{warning}");
        assert!(!warning.contains("hunter2"), "{warning}");
        let (_, warnings) = read_line(&["--database-url", "postgresql://u@h/d"]).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn no_mistake_shows_a_secret() {
        for arguments in [
            &["--database-url", "postgresql://vms:2024/hunter2@db/vms"][..],
            &["--database-url=mysql://vms:hunter2@db/vms"],
            &["FXSGHT-A", "postgresql://vms:hunter2@db/vms"],
            &["FXSGHT-A", "FXSGHT-hunter2"],
            &["--databse-url=postgresql://vms:hunter2@db/vms"],
            &["--databse-url", "postgresql://vms:hunter2@db/vms"],
        ] {
            let said = said(read_line(arguments).unwrap_err());
            assert!(!said.contains("hunter2"), "{arguments:?}: {said}");
        }
        let arguments = ["program", "postgresql://vms:hunter2@db/vms"];
        let mistake = read(
            Program::command(),
            arguments.into_iter().map(OsString::from),
        );
        let said = said(mistake.unwrap_err());
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_quotation_mark_without_its_partner_is_named() {
        for (value, is_named) in [
            ("\"postgresql://u:hunter2@h/d", true),
            ("mysql://u:hunter2@h/d\u{201d}", true),
            ("mysql://u:hunter2@h/d", false),
        ] {
            let line = said(read_line(&["--database-url", value]).unwrap_err());
            assert_eq!(line.contains("quotation mark"), is_named, "{line}");
            assert!(!line.contains("hunter2"), "{line}");
        }
    }

    #[test]
    fn help_hides_what_secrets_are_in_the_environment() {
        let command = without_secret_values(Program::command());
        let run = command.find_subcommand("run").unwrap();
        for argument in run.get_arguments() {
            let hides = argument.is_hide_env_values_set();
            assert_eq!(hides, is_secret(argument), "{}", argument.get_id());
        }
        assert_eq!(run.get_arguments().filter(|it| is_secret(it)).count(), 3);
    }
}
