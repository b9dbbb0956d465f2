//! Every setting: its name, default, meaning and bounds.
//!
//! One struct defines the documentation, the parser and `--help`. The value of a setting comes from
//! the first of these sources that has it: its flag, its environment variable, `.env` in the
//! current directory, its default. Only `app.rs`, `serve.rs` and the command line read this; lower
//! layers take plain values.
#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "the comments on settings are the texts of --help"
)]

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use license_service::admin_token::AdminTokenSettings;
use license_service::client_address::TrustedProxies;
use license_service::database::Timeouts;
use license_service::database_url::DatabaseUrl;
use license_service::hosts::AllowedHost;
use license_service::listener::{Limits, max_connections};
use license_service::log_filter::LogFilter;
use license_service::ownership::{OthersChoice, require_chosen};
use license_service::presentable_url::{SecretUrl, SecretUrlError};
use license_service::request_body::BodyLimits;
use license_service::state_dir;
use license_service::telemetry::LogFormat;

pub use self::trusted_network::TrustedNetwork;
use crate::proxy::ProxySettings;

mod trusted_network;

/// Settings of the service.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// The displayable values of all settings and their sources. Set by commands; `null` elsewhere.
    #[arg(skip)]
    pub shown: serde_json::Value,

    /// The proxies from environment variables. Set by commands; empty elsewhere.
    #[arg(skip)]
    pub proxies: ProxySettings,

    /// Connection limits. Not a setting; tests shorten the timeouts.
    #[arg(skip)]
    pub limits: Limits,

    /// Limits on request bodies. Not a setting.
    #[arg(skip)]
    pub body_limits: BodyLimits,

    /// Timeouts of database operations. Not a setting.
    #[arg(skip)]
    pub database_timeouts: Timeouts,

    /// URL of the License Server, up to but not including `/licenses/…`
    #[arg(long, env, default_value = "http://localhost:4000/api", value_parser = http_url, value_name = "URL")]
    pub license_api_url: SecretUrl,

    /// Timeout of one request to the License Server, in seconds
    #[arg(long, env, default_value = "30", value_parser = seconds, value_name = "SECONDS")]
    pub license_api_timeout: Duration,

    /// File with the JWK Set of the keys that licenses must be signed with; without this file,
    /// unsigned responses from the License Server are accepted
    #[arg(long, env, value_name = "FILE")]
    pub license_trusted_keys: Option<PathBuf>,

    /// File with certificates to trust in addition to the system's certificate authorities: those of
    /// other authorities, or the License Server's own; PEM or DER
    #[arg(long, env, value_name = "FILE")]
    pub license_ca_file: Option<PathBuf>,

    /// Database: postgresql://user:password@host:5432/name or sqlite:FILE;
    /// default is an SQLite file in STATE_DIR
    #[arg(long, env, hide_env_values = true, value_name = "URL")]
    pub database_url: Option<DatabaseUrl>,

    /// Directory for persistent data
    #[arg(
        long,
        env,
        default_value = "license-client-data",
        value_parser = OsStringValueParser::new().try_map(state_dir::parse),
        value_name = "DIR"
    )]
    pub state_dir: PathBuf,

    /// Id of this installation; default is the stored id, created on the first start
    #[arg(long, env, value_parser = id, value_name = "ID")]
    pub installation_id: Option<String>,

    /// Name of this installation, shown to the vendor
    #[arg(long, env, default_value = "Foxsight Central Command VMS", value_parser = text, value_name = "NAME")]
    pub installation_name: String,

    /// Id of this machine; default is the stored id, created on the first start
    #[arg(long, env, value_parser = id, value_name = "ID")]
    pub license_hardware_id: Option<String>,

    /// Version of the VMS, as reported to the License Server and by /health
    #[arg(long, env, default_value = "1.0.0", value_parser = text, value_name = "VERSION")]
    pub app_version: String,

    /// Hours between heartbeats
    #[arg(long, env, default_value = "4", value_parser = interval, value_name = "HOURS")]
    pub heartbeat_interval_hours: TimeDelta,

    /// Hours between validations; a license with a shorter lease is validated sooner
    #[arg(long, env, default_value = "24", value_parser = interval, value_name = "HOURS")]
    pub validation_interval_hours: TimeDelta,

    /// Number of hours that features keep working without a confirmed validation; this setting can
    /// only shorten the grace period signed into the license
    #[arg(long, env, default_value = "72", value_parser = hours, value_name = "HOURS")]
    pub offline_grace_period_hours: TimeDelta,

    /// Whether core features work before a license is activated
    #[arg(long, env, default_value = "true", value_parser = truth, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub allow_unlicensed_core_features: bool,

    /// Query on the VMS's database that returns the number of cameras; by default, the rows of the
    /// table `cameras` are counted, if it exists
    #[arg(long, env, value_parser = query, value_name = "SQL")]
    pub usage_cameras_query: Option<String>,

    /// Query that returns the number of users; by default, the rows of the table `users` are
    /// counted, if it exists
    #[arg(long, env, value_parser = query, value_name = "SQL")]
    pub usage_users_query: Option<String>,

    /// Query that returns the size of the recordings in GB
    #[arg(long, env, value_parser = query, value_name = "SQL")]
    pub usage_storage_gb_query: Option<String>,

    /// TOML file that maps paths of the VMS to the features they need, for gateways that ask by
    /// path; reloaded on SIGHUP
    #[arg(long, env, value_name = "FILE")]
    pub gate_routes: Option<PathBuf>,

    /// Signed document of the installed release, shipped with the VMS; read every minute; default
    /// is release.jwt in STATE_DIR
    #[arg(long, env, value_name = "FILE")]
    pub release_document: Option<PathBuf>,

    /// Address to listen on
    #[arg(long, env, default_value = "127.0.0.1", value_parser = address, value_name = "ADDRESS")]
    pub host: IpAddr,

    /// Port to listen on
    #[arg(long, env, default_value = "8000", value_parser = port, value_name = "PORT")]
    pub port: u16,

    /// Port for gateways that ask over gRPC (Envoy's `ext_authz`), at the same address; off by
    /// default
    #[arg(long, env, value_parser = port, value_name = "PORT")]
    pub ext_authz_port: Option<u16>,

    /// Maximum number of open connections on both ports together; a quarter is reserved for
    /// TRUSTED_NETWORKS, and each other address may use at most one sixteenth
    #[arg(long, env, default_value = "8192", value_parser = max_connections, value_name = "NUMBER")]
    pub max_connections: usize,

    /// Networks whose callers may make changes without a token: `loopback`, `attached` (the subnets
    /// of this machine's interfaces, except gateways and its own addresses), `gateway` (these
    /// gateways and addresses), or networks such as 10.1.0.0/16; `none`, as the only entry, for no
    /// network
    #[arg(
        long,
        env,
        default_value = "loopback",
        value_delimiter = ',',
        value_name = "LIST"
    )]
    pub trusted_networks: Vec<TrustedNetwork>,

    /// Token for callers from all other networks
    #[command(flatten)]
    pub admin_token: AdminTokenSettings,

    /// Proxies in front of the service
    #[command(flatten)]
    pub trusted_proxies: TrustedProxies,

    /// Host names of the service, in addition to addresses and single-label names: vms.example, or
    /// *.example for all names below example
    #[arg(
        long,
        env,
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "LIST"
    )]
    pub allowed_hosts: Vec<AllowedHost>,

    /// Origins whose pages may call the service, such as https://vms.example
    #[arg(long, env, hide_env_values = true, value_parser = without_user, value_delimiter = ',', value_name = "LIST")]
    pub cors_allowed_origins: Vec<String>,

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

/// The error never repeats the text, which may contain a password.
pub(crate) fn http_url(text: &str) -> Result<SecretUrl, String> {
    let accepted = "expected an http:// or https:// address";
    let url = SecretUrl::parse(text, &["http", "https"]).map_err(|error| match error {
        SecretUrlError::Ambiguous => format!("{error}; {accepted}"),
        SecretUrlError::Scheme => accepted.to_owned(),
    })?;
    // Docker does not remove comments from the values of an env file.
    if url.expose().fragment().is_some() {
        return Err(format!(
            "must not contain a '#' or anything after it; {accepted}"
        ));
    }
    Ok(url)
}

/// An origin has no user, and so no password to show by mistake.
fn without_user(text: &str) -> Result<String, String> {
    if text.contains('@') {
        return Err("must not contain a user name or password".into());
    }
    Ok(text.to_owned())
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.trim()
        .parse()
        .map_err(|_| "expected an address such as 127.0.0.1, 0.0.0.0 or ::1".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    text.trim()
        .parse()
        .map_err(|_| "expected a number from 0 to 65535".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = number(text)?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err("expected 0.1 to 3600 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Hours, with fractions, from 0 to ten years.
fn hours(text: &str) -> Result<TimeDelta, String> {
    let hours: f64 = number(text)?;
    if !(0.0..=87_600.0).contains(&hours) {
        return Err("expected 0 to 87600 hours; fractions are allowed".into());
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    Ok(TimeDelta::milliseconds((hours * 3_600_000.0) as i64))
}

fn interval(text: &str) -> Result<TimeDelta, String> {
    let interval = hours(text)?;
    if interval < TimeDelta::seconds(1) {
        return Err("expected at least 0.0003 hours (one second)".into());
    }
    Ok(interval)
}

fn number(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .map_err(|_| "expected a number".to_owned())
}

/// The spellings that the Python service accepted.
fn truth(text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

/// An id travels in a header and is stored in a column of 255 characters. An empty value counts as
/// not set: compose files pass on variables that are not set.
fn id(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !text.is_empty() && !crate::identity::is_usable(text) {
        return Err("expected up to 255 letters, digits and symbols, without spaces".into());
    }
    Ok(text.to_owned())
}

fn text(text: &str) -> Result<String, String> {
    if text.chars().count() > 255 || text.contains('\0') {
        return Err("expected up to 255 characters".into());
    }
    Ok(text.to_owned())
}

fn query(text: &str) -> Result<String, String> {
    let start = text.trim_start().get(..6).unwrap_or_default();
    if !start.eq_ignore_ascii_case("select") && !start.to_ascii_lowercase().starts_with("with ") {
        return Err("expected a single SELECT that returns one number".into());
    }
    Ok(text.to_owned())
}

/// The proxies of the environment.
#[must_use]
pub fn proxies() -> ProxySettings {
    ProxySettings::read(|variable| {
        #[expect(clippy::disallowed_methods, reason = "this is where settings come in")]
        let value = std::env::var_os(variable)?;
        // A value that is not UTF-8 is rejected as malformed, not treated as absent.
        Some(value.to_string_lossy().into_owned())
    })
}

impl Settings {
    /// Checks what no setting shows alone.
    ///
    /// # Errors
    /// With the name of the setting.
    pub(crate) fn check(&self) -> Result<(), String> {
        let networks = &self.trusted_networks;
        match networks.contains(&TrustedNetwork::None) && networks.len() > 1 {
            true => {
                Err("TRUSTED_NETWORKS (--trusted-networks): 'none' must be the only entry".into())
            }
            false => Ok(()),
        }
    }

    /// Checks that no other user of the machine has chosen the files and directories.
    ///
    /// # Errors
    /// If another user may have: see [`require_chosen`].
    pub fn require_chosen(&self) -> Result<(), OthersChoice> {
        require_chosen("STATE_DIR", &self.state_dir)?;
        if let Some(file) = self.database().sqlite_file() {
            require_chosen("DATABASE_URL", file)?;
        }
        let files = [
            ("LICENSE_TRUSTED_KEYS", &self.license_trusted_keys),
            ("LICENSE_CA_FILE", &self.license_ca_file),
            ("GATE_ROUTES", &self.gate_routes),
            ("RELEASE_DOCUMENT", &self.release_document),
        ];
        let named = files.into_iter();
        let mut named = named.filter_map(|(setting, file)| Some((setting, file.as_ref()?)));
        named.try_for_each(|(setting, file)| require_chosen(setting, file))
    }

    /// The file with the document of the installed release.
    #[must_use]
    pub fn release_document(&self) -> PathBuf {
        let file = self.release_document.clone();
        file.unwrap_or_else(|| self.state_dir.join("release.jwt"))
    }

    /// The database to use.
    #[must_use]
    pub fn database(&self) -> DatabaseUrl {
        self.database_url
            .clone()
            .unwrap_or_else(|| DatabaseUrl::of_file(&self.state_dir.join("license-client.sqlite")))
    }
}

#[cfg(test)]
mod tests;
