//! Reading the command line.

use clap::builder::PossibleValue;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, FromArgMatches as _};
use std::error::Error as _;
use std::ffi::OsString;

use crate::cli::{Cli, Line};
use license_service::variables::without_empty_variables;

/// A mistake on the command line or in the environment.
pub(super) enum Mistake {
    /// A setting has a value that is not accepted: one line says all.
    Setting(String),
    /// Anything else, in the words of the library; also `--help`.
    Usage(Box<clap::Error>),
}

impl Mistake {
    /// Says what is wrong, and ends the process.
    pub(super) fn exit(self) -> ! {
        match self {
            Self::Setting(line) => {
                eprintln!("error: {line}");
                std::process::exit(2)
            }
            Self::Usage(error) => error.exit(),
        }
    }
}

pub(super) fn parse(command: Command) -> Result<Line, Mistake> {
    let mut command = without_empty_variables(command);
    read(&mut command, std::env::args_os()).map_err(|error| match setting(&command, &error) {
        Some(line) => Mistake::Setting(line),
        None => Mistake::Usage(Box::new(error)),
    })
}

fn read(
    command: &mut Command,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Line, clap::Error> {
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok(Line { cli, matches })
}

/// One line that names the variable, the value, and what is accepted; `None`
/// for other mistakes.
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
    let variable = argument.get_env()?.display();
    let value = if argument.is_hide_env_values_set() {
        "has a value that is not shown here".to_owned()
    } else {
        format!("is '{}'", text(ContextKind::InvalidValue)?)
    };
    let why = match error.source() {
        Some(source) => source.to_string(),
        None => accepted(argument),
    };
    Some(format!("{variable} ({flag}) {value}: {why}"))
}

fn argument<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    let of = |command: &'a Command| {
        let mut arguments = command.get_arguments();
        arguments.find(|argument| argument.get_long() == Some(long))
    };
    of(command).or_else(|| command.get_subcommands().find_map(of))
}

fn accepted(argument: &Arg) -> String {
    let values = argument.get_possible_values();
    let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
    format!("accepted are {}", names.join(", "))
}
