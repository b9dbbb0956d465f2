//! The command line, one file per subcommand. All except `serve` talk to a running
//! service.

mod activate;
mod attempts;
mod check;
mod check_upgrade;
mod config;
mod deactivate;
mod doctor;
mod features;
mod hardware;
mod health;
mod heartbeat;
mod limits;
mod offline;
mod own_settings;
mod redeem;
mod replacement;
mod serve;
mod start_trial;
mod status;
mod validate;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use license_core::license_key::{LicenseKey, LicenseKeyError};
use license_service::command_line::{self, Mistake};
use license_service::dot_env::DotEnv;
use license_service::runtime;
use license_service::secret_argument::SecretForm;
use license_service::stderr::say;

use crate::config::Settings;
use crate::running_service::ServiceArgs;

/// The form of license keys. A mail program may wrap a key over two lines, or put text above it.
const LICENSE_KEY: SecretForm = SecretForm {
    name: "license key",
    example: "FXSGHT-XXXX-XXXX-XXXX-XXXX",
    find: |text| match LicenseKey::parse(text) {
        Ok(key) => Some(key.to_string()),
        Err(LicenseKeyError::Form(_)) => None,
        Err(_) => Some(text.trim().to_owned()),
    },
};

/// The answer is no: no license, a feature that is not available, or an unhealthy
/// service.
const NO: u8 = 3;

/// On-premise license service of Foxsight Central Command
#[derive(Debug, Parser)]
#[command(
    name = "license-client",
    version,
    after_help = "Exit codes: 0 success or yes, 1 error, 2 invalid usage, 3 the answer is no.\n\
                  Settings are read from flags, the environment and .env; see 'license-client serve --help'."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The parsed command line, and the source of each value.
pub struct Line {
    cli: Cli,
    matches: ArgMatches,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    #[command(after_help = "Examples:\n  \
        license-client serve\n  \
        license-client serve --port 8010 --license-api-url https://licenses.example/api\n  \
        DATABASE_URL=postgresql://vms:secret@db:5432/vms license-client serve")]
    Serve(Box<Settings>),

    /// Activate a license key
    #[command(after_help = "Examples:\n  \
        license-client activate                   (prompts for the key)\n  \
        license-client activate - < license-key   (reads it from standard input)\n  \
        license-client activate --give-back       (also frees the seat of the replaced license)\n\n\
        If another license is active, the command shows what changes and, on a terminal, asks for confirmation.")]
    Activate(activate::Activate),

    /// Redeem an add-on key, which adds to the active license
    #[command(after_help = "Examples:\n  \
        license-client redeem                  (prompts for the key)\n  \
        license-client redeem - < add-on-key   (reads it from standard input)\n\n\
        Without internet: license-client offline request redeem")]
    Redeem(redeem::Redeem),

    /// Start a trial with a trial code
    #[command(after_help = "Examples:\n  \
        license-client start-trial                  (prompts for the code)\n  \
        license-client start-trial - < trial-code   (reads it from standard input)\n\n\
        Each installation can start one trial. Starting it again returns the same trial.\n\
        Without internet: license-client offline request trial")]
    StartTrial(start_trial::StartTrial),

    /// Show the license and the standing of this site
    #[command(
        after_help = "Examples:\n  license-client status\n  license-client status --json | jq .standing"
    )]
    Status(ServiceArgs),

    /// Validate the license with the License Server now
    #[command(after_help = "Example:\n  license-client validate")]
    Validate(ServiceArgs),

    /// Check whether features are available
    #[command(after_help = "Examples:\n  \
        license-client check module.map_view\n  \
        license-client check module.live_view module.analytics_advanced --json")]
    Check(check::Check),

    /// Check whether the license covers a release before it is installed
    #[command(after_help = "Examples:\n  \
        license-client check-upgrade 3.2.0 --released 2027-01-15\n  \
        license-client check-upgrade 3.1.9 --released 2027-01-15 --exempt\n  \
        license-client check-upgrade --document release.jwt --json\n\n\
        Exit codes: 0 the release is covered, 3 the release is not covered, 4 unknown, because \
        there is no license or its updatesUntil cannot be read.")]
    CheckUpgrade(check_upgrade::CheckUpgrade),

    /// List features and why each is on or off, or switch a feature on or off for this site
    #[command(after_help = "Examples:\n  \
        license-client features\n  \
        license-client features off module.map_view\n  \
        license-client features on module.map_view")]
    Features(features::Features),

    /// Check whether the license allows more cameras, users, storage or anything else it limits
    #[command(after_help = "Examples:\n  \
        license-client limits\n  \
        license-client limits cameras 8\n  \
        license-client limits anpr_lanes")]
    Limits(limits::Limits),

    /// Show the log of activations and validations
    #[command(after_help = "Example:\n  license-client attempts --limit 20")]
    Attempts(attempts::Attempts),

    /// Show how this machine is identified, and which hardware has changed
    #[command(after_help = "Example:\n  license-client hardware")]
    Hardware(ServiceArgs),

    /// Send a heartbeat to the License Server now
    #[command(after_help = "Example:\n  license-client heartbeat")]
    Heartbeat(ServiceArgs),

    /// Deactivate the license and free the seat
    #[command(after_help = "Examples:\n  \
        license-client deactivate\n  \
        license-client deactivate --force   (the License Server cannot be reached)")]
    Deactivate(deactivate::Deactivate),

    /// License a site without internet access, by exchanging files
    #[command(subcommand)]
    Offline(offline::Offline),

    /// Exit with code 0 if the service is running; for container probes
    #[command(
        after_help = "Examples:\n  license-client health\n  HEALTHCHECK CMD [\"license-client\", \"health\"]"
    )]
    Health(health::Health),

    /// Show the effective settings and where each comes from
    #[command(after_help = "Examples:\n  \
        license-client config\n  \
        license-client config --port 8010 --json")]
    Config(Box<config::Config>),

    /// Check everything that the service depends on, and suggest fixes
    #[command(after_help = "Examples:\n  \
        license-client doctor\n  \
        license-client doctor --bundle support.json   (contains no license key, token or password)")]
    Doctor(Box<doctor::Doctor>),

    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  \
        license-client completions bash > /etc/bash_completion.d/license-client")]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// The settings of the service, if the command reads them.
    fn settings(&self) -> Option<&Settings> {
        match self {
            Self::Serve(settings) => Some(settings),
            Self::Config(command) => Some(&command.settings),
            Self::Doctor(command) => Some(&command.settings),
            _ => None,
        }
    }
}

impl Cli {
    /// Parses the command line; on an error, prints what is expected and exits
    /// with 2.
    #[must_use]
    pub fn parse_or_exit() -> Line {
        Self::parse_from_process().unwrap_or_else(|mistake| mistake.exit())
    }

    fn parse_from_process() -> Result<Line, Mistake> {
        let (matches, warnings) = command_line::read(Self::command(), std::env::args_os())?;
        for warning in warnings {
            say(warning);
        }
        let cli = Self::from_arg_matches(&matches).map_err(|error| Mistake::Usage(error.into()))?;
        let settings = cli.command.settings();
        settings
            .map_or(Ok(()), Settings::check)
            .map_err(Mistake::Line)?;
        Ok(Line { cli, matches })
    }
}

/// Runs the subcommand, with the settings that also come from `.env`.
///
/// # Errors
/// Any failure of the command, as a message for people.
pub fn run(line: Line, dot_env: &DotEnv) -> anyhow::Result<ExitCode> {
    let from_file = &dot_env.variables;
    match &line.cli.command {
        // It would run with another database.
        Command::Serve(_) => dot_env.check()?,
        _ => {
            dot_env
                .ignored
                .as_ref()
                .inspect(|why| say(format_args!("warning: {why}")));
        }
    }
    runtime::run(async {
        match line.cli.command {
            Command::Serve(settings) => serve::run(*settings, &line.matches, from_file).await,
            Command::Activate(command) => activate::run(command).await,
            Command::StartTrial(command) => start_trial::run(command).await,
            Command::Redeem(command) => redeem::run(command).await,
            Command::Status(service) => status::run(&service).await,
            Command::Validate(service) => validate::run(&service).await,
            Command::Check(command) => check::run(command).await,
            Command::CheckUpgrade(command) => check_upgrade::run(command).await,
            Command::Features(command) => features::run(command).await,
            Command::Limits(command) => limits::run(command).await,
            Command::Attempts(command) => attempts::run(command).await,
            Command::Hardware(service) => hardware::run(&service).await,
            Command::Config(command) => config::run(&command, &line.matches, from_file).await,
            Command::Doctor(command) => doctor::run(*command, &line.matches, from_file).await,
            Command::Heartbeat(service) => heartbeat::run(&service).await,
            Command::Deactivate(command) => deactivate::run(command).await,
            Command::Offline(command) => offline::run(command).await,
            Command::Health(command) => health::run(&command).await,
            Command::Completions { shell } => {
                // Into memory first: clap_complete panics where it cannot write.
                let (mut command, mut script) = (Cli::command(), Vec::new());
                clap_complete::generate(shell, &mut command, "license-client", &mut script);
                println!("{}", String::from_utf8(script)?.trim_end());
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}
