//! The arguments for what an add-on key grants: `--add`, with the `--from`, `--until` and `--for`
//! after it.

use std::str::FromStr as _;

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use license_core::add_on::AddOnGrant;
use license_core::calendar_duration::CalendarDuration;

use crate::cli::additions::{argument, end, set_each, start, values};
use crate::licensing::amend::Addition;

/// What an add-on key grants.
#[derive(Debug)]
pub(super) struct Grants(pub(super) Vec<AddOnGrant>);

impl Args for Grants {
    fn augment_args(command: Command) -> Command {
        let add = argument(
            "add",
            "KEY[=N]",
            "Feature or quantity to grant, such as module.map_view, cameras=16 or \
             cameras=unlimited; can be repeated",
        );
        let from = argument(
            "from",
            "DATE",
            "First day, or exact start, of the preceding --add (UTC); default is when the key is \
             redeemed",
        );
        let until = argument(
            "until",
            "DATE",
            "Last day, or exact end, of the preceding --add (UTC)",
        );
        let duration = argument(
            "for",
            "DURATION",
            "Duration of the preceding --add in years, months, weeks and days, such as P90D",
        );
        command
            .arg(add.value_parser(Addition::from_str))
            .arg(from.value_parser(start))
            .arg(until.value_parser(end))
            .arg(duration.value_parser(|text: &str| text.parse::<CalendarDuration>()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Grants {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut grants: Vec<(usize, AddOnGrant)> = values::<Addition>(matches, "add")
            .into_iter()
            .map(|(place, addition)| (place, granted(addition)))
            .collect();
        set_each(&mut grants, matches, "from", |grant| &mut grant.from)?;
        set_each(&mut grants, matches, "until", |grant| &mut grant.until)?;
        set_each(&mut grants, matches, "for", |grant| &mut grant.duration)?;
        let grants = grants.into_iter().map(|(_, grant)| grant);
        Ok(Self(grants.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn granted(addition: Addition) -> AddOnGrant {
    AddOnGrant {
        key: addition.key,
        quantity: addition.quantity,
        from: None,
        until: None,
        duration: None,
    }
}
