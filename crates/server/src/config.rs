//! Every setting: its name, default, meaning and bounds.
//!
//! The value of a setting comes from the first of these sources that has it: its flag, its
//! environment variable, `.env` in the current directory, its default.
#![expect(
    clippy::doc_markdown,
    reason = "the comments on settings are the texts of --help"
)]

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use chrono::TimeDelta;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use license_core::plan::PlanChoice;
use license_service::admin_token::AdminTokenSettings;
use license_service::client_address::TrustedProxies;
use license_service::database::Timeouts;
use license_service::database_url::DatabaseUrl;
use license_service::hosts::AllowedHost;
use license_service::listener::max_connections;
use license_service::log_filter::LogFilter;
use license_service::ownership::{OthersChoice, require_chosen};
use license_service::state_dir;
use license_service::telemetry::LogFormat;

/// Where licenses and keys are stored. Every command needs these settings.
#[derive(Clone, Debug, Args)]
pub struct Storage {
    /// Database: postgresql://user:password@host:5432/name or sqlite:FILE;
    /// default is an SQLite file in STATE_DIR
    #[arg(long, env, hide_env_values = true, global = true, value_name = "URL")]
    pub database_url: Option<DatabaseUrl>,

    /// Directory for the SQLite file and the signing keys
    #[arg(
        long,
        env,
        default_value = "license-server-data",
        global = true,
        value_parser = OsStringValueParser::new().try_map(state_dir::parse),
        value_name = "DIR"
    )]
    pub state_dir: PathBuf,

    /// Directory of the signing keys; default is `keys` in STATE_DIR
    #[arg(long, env, global = true, value_name = "DIR")]
    pub keys_dir: Option<PathBuf>,

    /// Timeouts of database operations. Not a setting; tests shorten the waits.
    #[arg(skip)]
    pub database_timeouts: Timeouts,
}

impl Storage {
    /// Checks that no other user of the machine has chosen the directories or the SQLite file.
    ///
    /// # Errors
    /// If another user may have: see [`require_chosen`].
    pub fn require_chosen(&self) -> Result<(), OthersChoice> {
        require_chosen("STATE_DIR", &self.state_dir)?;
        let keys = self.keys_dir.iter().map(|keys| ("KEYS_DIR", &**keys));
        let file = self
            .database_url
            .as_ref()
            .and_then(DatabaseUrl::sqlite_file);
        let file = file.map(|file| ("DATABASE_URL", file));
        let mut others = keys.chain(file);
        others.try_for_each(|(setting, path)| require_chosen(setting, path))
    }
}

/// The contents of signed documents.
#[derive(Clone, Debug, Args)]
pub struct Terms {
    /// Issuer named in signed documents
    #[arg(
        long,
        env,
        default_value = "foxsight-license-server",
        value_name = "NAME"
    )]
    pub issuer: String,

    /// Hours until an installation must validate again
    #[arg(long, env, default_value = "24", value_parser = hours, value_name = "HOURS")]
    pub lease_hours: TimeDelta,

    /// Hours that an installation keeps working without a validation after its lease has ended
    #[arg(long, env, default_value = "72", value_parser = hours, value_name = "HOURS")]
    pub grace_hours: TimeDelta,

    /// Days that a license file for a site without internet is valid; with 0, request files are
    /// refused
    #[arg(long, env, default_value = "90", value_parser = days, value_name = "DAYS")]
    pub offline_days: TimeDelta,

    /// Host names by which sites call this server, including those of proxies at customers. With
    /// this list, a call is refused if its proof of the installation key was made for another server
    #[arg(long, env, value_delimiter = ',', value_parser = host_name, value_name = "LIST")]
    pub site_hosts: Vec<String>,

    /// Trials that sites start without a code
    #[command(flatten)]
    pub trials: TrialSettings,
}

/// Trials that sites start without a code.
#[derive(Clone, Debug, Args)]
pub struct TrialSettings {
    /// Plan of the trials that sites start without a trial code: a plan for trials that has a
    /// duration. Without this setting, a trial needs a code
    #[arg(long, env, value_name = "NAME[@VERSION]")]
    pub open_trial_plan: Option<PlanChoice>,

    /// Maximum number of trials per day (UTC) that are started without a trial code
    #[arg(
        long,
        env,
        default_value_t = DEFAULT_OPEN_TRIALS,
        value_parser = clap::value_parser!(u32).range(1..),
        value_name = "NUMBER"
    )]
    pub open_trials_per_day: u32,
}

/// Maximum number of trials without a code on one day, unless it is set.
const DEFAULT_OPEN_TRIALS: u32 = 100;

/// Off.
impl Default for TrialSettings {
    fn default() -> Self {
        Self {
            open_trial_plan: None,
            open_trials_per_day: DEFAULT_OPEN_TRIALS,
        }
    }
}

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Contents of signed documents
    #[command(flatten)]
    pub terms: Terms,

    /// Address to listen on
    #[arg(long, env, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub host: IpAddr,

    /// Port to listen on
    #[arg(long, env, default_value_t = 4000, value_name = "PORT")]
    pub port: u16,

    /// Maximum number of open connections; a quarter is reserved for private networks, where the
    /// vendor's proxies are, and any other address may use a sixteenth
    #[arg(long, env, default_value = "8192", value_parser = max_connections, value_name = "NUMBER")]
    pub max_connections: usize,

    /// Token for administration over HTTP and with a browser; without it, administration is off
    #[command(flatten)]
    pub admin_token: AdminTokenSettings,

    /// Host names of the console and the administration API, in addition to addresses and
    /// single-label names: licenses.example, or *.example for all names below it
    #[arg(long, env, value_delimiter = ',', value_name = "LIST")]
    pub allowed_hosts: Vec<AllowedHost>,

    /// Proxies in front of the service
    #[command(flatten)]
    pub trusted_proxies: TrustedProxies,

    /// What to log: `trace`, `debug`, `info`, `warn`, `error` or `off`; a list may also set levels
    /// for parts of the program: `info,license_service=debug`
    #[arg(long, env, default_value = "info", value_name = "LEVELS")]
    pub log: LogFilter,

    /// Log format
    #[arg(
        long,
        env,
        default_value = "text",
        ignore_case = true,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
}

impl Storage {
    /// The database to use.
    #[must_use]
    pub fn database(&self) -> DatabaseUrl {
        self.database_url
            .clone()
            .unwrap_or_else(|| DatabaseUrl::of_file(&self.state_dir.join("license-server.sqlite")))
    }

    /// The directory of the signing keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.keys_dir
            .clone()
            .unwrap_or_else(|| self.state_dir.join("keys"))
    }
}

/// A host name of [`Terms::site_hosts`].
fn host_name(text: &str) -> Result<String, String> {
    let name = text.trim().trim_end_matches('.').to_ascii_lowercase();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let in_brackets = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_address = in_brackets.is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
    match is_address || (!name.is_empty() && name.bytes().all(is_allowed)) {
        true => Ok(name),
        false => Err("expected a host name without a port or a path: licenses.example".to_owned()),
    }
}

/// Hours, with fractions, from one second to ten years: the times in a
/// document are whole seconds.
fn hours(text: &str) -> Result<TimeDelta, String> {
    let hours: f64 = text.trim().parse().map_err(|_| "expected a number")?;
    if !(1.0 / 3600.0..=87_600.0).contains(&hours) {
        return Err("expected 0.0003 to 87600 hours; fractions are allowed".into());
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    Ok(TimeDelta::milliseconds((hours * 3_600_000.0) as i64))
}

/// Days, with fractions, from one minute to ten years; or none.
fn days(text: &str) -> Result<TimeDelta, String> {
    let days: f64 = text.trim().parse().map_err(|_| "expected a number")?;
    if days != 0.0 && !(1.0 / 1440.0..=3650.0).contains(&days) {
        return Err("expected 0, or 0.0007 to 3650 days; fractions are allowed".into());
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    Ok(TimeDelta::seconds((days * 86_400.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_positive_and_bounded() {
        assert_eq!(hours("0.5"), Ok(TimeDelta::minutes(30)));
        for wrong in ["0", "-1", "NaN", "1e9", "day"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
        assert_eq!(days("0"), Ok(TimeDelta::zero()));
        assert_eq!(days("0.5"), Ok(TimeDelta::hours(12)));
        for wrong in ["0.0001", "-1", "NaN", "3651", "day"] {
            assert!(days(wrong).is_err(), "{wrong}");
        }
    }
}
