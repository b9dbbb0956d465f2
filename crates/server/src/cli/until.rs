//! The arguments for the end of a license.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;

use crate::licensing::expiry::end_of;

/// The end of a license.
#[derive(Debug, Args)]
pub(super) struct Until {
    /// Last day, or exact end, of the license (UTC)
    #[arg(long, value_parser = expiry, value_name = "DATE")]
    expires_at: Option<DateTime<Utc>>,

    /// Number of days from now until the license ends
    #[arg(long, conflicts_with = "expires_at", value_name = "DAYS")]
    expires_in_days: Option<u32>,
}

impl Until {
    /// The end; `None` if no argument was given.
    pub(super) fn end(&self, now: DateTime<Utc>) -> anyhow::Result<Option<DateTime<Utc>>> {
        let expires_in = self.expires_in_days.map(|days| {
            now.checked_add_signed(TimeDelta::days(days.into()))
                .context("--expires-in-days is too large")
        });
        Ok(self.expires_at.or(expires_in.transpose()?))
    }
}

fn expiry(text: &str) -> Result<DateTime<Utc>, String> {
    end_of(text)
        .ok_or_else(|| "expected a date such as 2030-12-31 or 2030-12-31T12:00:00Z".to_owned())
}
