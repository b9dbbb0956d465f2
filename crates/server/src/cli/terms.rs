//! The arguments for the terms of a license.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use license_core::amendment::{TermChanges, UpdateRule};

use crate::cli::additions;

/// Terms to change.
#[derive(Debug, Args)]
pub(super) struct TermArguments {
    /// Maximum number of machines at the same time
    #[arg(long, value_name = "N")]
    seats: Option<u32>,

    /// How many times per period a seat can move to another machine before the old
    /// machine's lease has ended
    #[arg(long, value_name = "N")]
    moves: Option<u32>,

    /// Length of the period for moves, in days
    #[arg(long, value_name = "DAYS")]
    moves_period_days: Option<u32>,

    /// Hours until an installation must validate again, 1 to 2160, or 'default' for the server's
    /// setting
    #[arg(long, value_name = "HOURS")]
    lease_hours: Option<NumberOrDefault>,

    /// Hours that an installation keeps working without a validation after its lease has ended, 0
    /// to 720, or 'default' for the server's setting
    #[arg(long, value_name = "HOURS")]
    grace_hours: Option<NumberOrDefault>,

    /// Days that a license file for a site without internet is valid, 1 to 3650, or 'default' for
    /// the server's setting
    #[arg(long, value_name = "DAYS")]
    offline_days: Option<NumberOrDefault>,

    /// Last release date that the license covers: a day or an exact time (UTC), or 'unlimited'
    #[arg(long, value_name = "DATE")]
    updates_until: Option<UpdatesUntil>,

    /// Rule for later releases: 'warn' shows a warning, and 'enforce' switches licensed features
    /// off
    #[arg(long, value_name = "RULE")]
    updates: Option<Updates>,
}

impl TermArguments {
    /// The changes that they mean.
    pub(super) fn changes(self) -> TermChanges {
        TermChanges {
            seats: self.seats,
            moves: self.moves,
            moves_period_days: self.moves_period_days,
            lease_hours: self.lease_hours.map(|it| it.0),
            grace_hours: self.grace_hours.map(|it| it.0),
            offline_days: self.offline_days.map(|it| it.0),
            updates_until: self.updates_until.map(|it| it.0),
            updates: self.updates.map(UpdateRule::from),
        }
    }
}

/// A number, or the default of the License Server.
#[derive(Clone, Copy, Debug)]
struct NumberOrDefault(Option<u32>);

impl FromStr for NumberOrDefault {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self(None)),
            text => match text.parse() {
                Ok(number) => Ok(Self(Some(number))),
                Err(_) => Err("expected a whole number, or 'default'"),
            },
        }
    }
}

/// The end of the releases that are covered, or none.
#[derive(Clone, Copy, Debug)]
struct UpdatesUntil(Option<DateTime<Utc>>);

impl FromStr for UpdatesUntil {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self(None)),
            text => additions::end(text).map(|at| Self(Some(at))),
        }
    }
}

/// The rule for releases that are not covered.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Updates {
    Warn,
    Enforce,
}

impl From<Updates> for UpdateRule {
    fn from(updates: Updates) -> Self {
        match updates {
            Updates::Warn => Self::Warn,
            Updates::Enforce => Self::Enforce,
        }
    }
}
