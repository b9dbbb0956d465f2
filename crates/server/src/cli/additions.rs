//! The arguments for what an amendment adds: `--add`, with the `--from` and `--until` after it.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::licensing::amend::Addition;
use crate::licensing::expiry::{end_of, start_of};

/// What to grant in addition.
#[derive(Debug)]
pub(super) struct Additions(pub(super) Vec<Addition>);

impl Args for Additions {
    fn augment_args(command: Command) -> Command {
        let add = argument(
            "add",
            "KEY[=N]",
            "Feature or quantity to add, such as module.map_view, cameras=16 or \
             cameras=unlimited; can be repeated",
        );
        let from = argument(
            "from",
            "DATE",
            "First day, or exact start, of the preceding --add (UTC)",
        );
        let until = argument(
            "until",
            "DATE",
            "Last day, or exact end, of the preceding --add (UTC)",
        );
        command
            .arg(add.value_parser(Addition::from_str))
            .arg(from.value_parser(start))
            .arg(until.value_parser(end))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Additions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut additions: Vec<(usize, Addition)> = values(matches, "add");
        set_each(&mut additions, matches, "from", |it| &mut it.period.from)?;
        set_each(&mut additions, matches, "until", |it| &mut it.period.until)?;
        let additions = additions.into_iter().map(|(_, addition)| addition);
        Ok(Self(additions.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// An argument that may be repeated.
pub(super) fn argument(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .action(ArgAction::Append)
        .help(help)
}

/// Sets a member of what each `--add` adds to the value of the argument `name` that follows it.
///
/// # Errors
/// If the argument precedes all of them, or follows one twice.
pub(super) fn set_each<A, T: Clone + Send + Sync + 'static>(
    added: &mut [(usize, A)],
    matches: &ArgMatches,
    name: &str,
    member: fn(&mut A) -> &mut Option<T>,
) -> Result<(), Error> {
    for (index, value) in values::<T>(matches, name) {
        let earlier = added.iter_mut().rev().find(|(add, _)| *add < index);
        let Some((_, addition)) = earlier else {
            let why = format!("--{name} must follow the --add that it applies to\n");
            return Err(Error::raw(ErrorKind::MissingRequiredArgument, why));
        };
        if member(addition).replace(value).is_some() {
            let why = format!("--{name} is given twice for the same --add\n");
            return Err(Error::raw(ErrorKind::ArgumentConflict, why));
        }
    }
    Ok(())
}

/// The values of an argument with their places on the command line.
pub(super) fn values<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    name: &str,
) -> Vec<(usize, T)> {
    let places = matches.indices_of(name).into_iter().flatten();
    let values = matches.get_many::<T>(name).into_iter().flatten();
    places.zip(values.cloned()).collect()
}

/// A start, or a day, which means its beginning.
pub(super) fn start(text: &str) -> Result<DateTime<Utc>, String> {
    start_of(text).ok_or_else(expected)
}

/// An end, or a day, which means its end.
pub(super) fn end(text: &str) -> Result<DateTime<Utc>, String> {
    end_of(text).ok_or_else(expected)
}

fn expected() -> String {
    "expected a date such as 2030-12-31 or 2030-12-31T12:00:00Z".to_owned()
}
