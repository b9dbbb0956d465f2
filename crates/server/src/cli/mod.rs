//! The command line. Commands work directly on the database, even while the service
//! is running.

mod add_ons;
mod additions;
mod amend;
mod audit;
mod bulk;
mod clock;
mod customers;
mod health;
mod init;
mod installations;
mod invocation;
mod issue;
mod keys;
mod licenses;
mod listing;
mod offline;
mod plans;
mod release;
mod seats;
mod serve;
mod suspicions;
mod table;
mod terms;
mod tokens;
mod trial_codes;
mod until;
mod usage;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use license_core::license_key::{LicenseKey, LicenseKeyError};
use license_service::clock::{Clock as _, SystemClock};
use license_service::command_line::{self, Mistake};
use license_service::dot_env::DotEnv;
use license_service::log_filter::LogFilter;
use license_service::runtime;
use license_service::secret_argument::{SecretArgument, SecretForm};
use license_service::stderr::say;
use license_service::telemetry::{self, LogFormat};
use tracing::level_filters::LevelFilter;

use crate::cli::invocation::{AuthorArgs, Invocation};
use crate::config::{Serve, Storage};
use crate::store::licenses::Status;

/// License Server of Foxsight Central Command
#[derive(Debug, Parser)]
#[command(
    name = "license-server",
    version,
    after_help = "Exit codes: 0 success, 1 error, 2 invalid usage.\n\
                  Settings are read from flags, the environment and .env."
)]
pub struct Cli {
    #[command(flatten)]
    storage: Storage,

    #[command(flatten)]
    author: AuthorArgs,

    /// Print JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    #[command(after_help = "Examples:\n  \
        license-server serve\n  \
        license-server serve --host 0.0.0.0 --port 4000\n  \
        DATABASE_URL=postgresql://licenses:secret@db/licenses license-server serve")]
    Serve(Serve),

    /// Create the database and the first signing key if they are missing
    #[command(
        after_help = "Example:\n  license-server init\n\n'serve' does the same when it is first \
                      started. No other command creates a database."
    )]
    Init,

    /// Create, list, export, rotate and revoke signing keys
    #[command(subcommand)]
    Keys(keys::Keys),

    /// Publish, list and show plans, the templates for licenses
    #[command(subcommand)]
    Plans(plans::Plans),

    /// Issue a license
    #[command(after_help = "Examples:\n  \
        license-server issue --plan professional --customer 'Harbour Ltd'\n  \
        license-server issue --plan standard@1 --with module.analytics_advanced --expires-in-days 30\n  \
        license-server issue --plan enterprise --seats 5 --max-cameras 500 --expires-at 2030-12-31")]
    Issue(Box<issue::Issue>),

    /// List licenses, newest first
    #[command(after_help = "Examples:\n  \
        license-server list\n  license-server list --status expiring\n  \
        license-server list --trial --search Harbour --json\n  \
        license-server list --csv > licenses.csv")]
    List(licenses::List),

    /// List installations: machines that hold a seat
    #[command(after_help = "Examples:\n  \
        license-server installations --standing silent\n  \
        license-server installations --over-limit --csv > installations.csv")]
    Installations(installations::Installations),

    /// List the daily usage of machines
    #[command(after_help = "Examples:\n  \
        license-server usage FXSGHT-ABCD-EFGH-JKMN-PQRS\n  \
        license-server usage --days 31 --csv > usage.csv")]
    Usage(usage::Usage),

    /// Show one license and its seats
    #[command(after_help = "Examples:\n  \
        license-server show - < license-key   (reads the key from standard input)\n  \
        license-server show FXSGHT-ABCD-EFGH-JKMN-PQRS   (visible to other users of the machine)")]
    Show {
        /// License key, in uppercase or lowercase, with or without hyphens; - reads it from
        /// standard input
        key: SecretArgument,
    },

    /// Suspend a license temporarily
    #[command(after_help = "Example:\n  \
        license-server suspend FXSGHT-ABCD-EFGH-JKMN-PQRS --message 'Your invoice is overdue'")]
    Suspend {
        /// License key, in uppercase or lowercase, with or without hyphens; - reads it from
        /// standard input
        key: SecretArgument,
        /// Message for the site's operator
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
    },

    /// Set the end date of a license
    #[command(after_help = "Examples:\n  \
        license-server renew FXSGHT-ABCD-EFGH-JKMN-PQRS --expires-at 2030-12-31\n  \
        license-server renew FXSGHT-ABCD-EFGH-JKMN-PQRS --never")]
    Renew(licenses::Renew),

    /// Change a sold license: entitlements, terms, customer, start and end
    #[command(after_help = "Examples:\n  \
        license-server amend FXSGHT-ABCD-EFGH-JKMN-PQRS --add cameras=32 --from 2027-05-01 --preview\n  \
        license-server amend FXSGHT-ABCD-EFGH-JKMN-PQRS --add module.analytics_advanced \
        --from 2027-05-01 --until 2027-07-29 --order 4711 --reason 'Analytics for the fair'\n  \
        license-server amend FXSGHT-ABCD-EFGH-JKMN-PQRS --end module.map_view --effective 2027-06-01\n  \
        license-server amend FXSGHT-ABCD-EFGH-JKMN-PQRS --plan enterprise --preview\n  \
        license-server amend FXSGHT-ABCD-EFGH-JKMN-PQRS --undo 3\n\n\
        Days are in UTC: a start is the beginning of its day, an end is the end of its day.")]
    Amend(Box<amend::Amend>),

    /// List the amendments of a license, oldest first
    #[command(after_help = "Examples:\n  \
        license-server amendments FXSGHT-ABCD-EFGH-JKMN-PQRS\n  \
        license-server amendments FXSGHT-ABCD-EFGH-JKMN-PQRS --json\n  \
        license-server amendments --csv > amendments.csv   (of all licenses)")]
    Amendments(amend::Amendments),

    /// Issue, renew or amend many licenses, one for each line of a CSV file
    #[command(subcommand)]
    Bulk(bulk::Bulk),

    /// Issue, list, redeem and refund add-on keys, which add to licenses
    #[command(subcommand, name = "addons")]
    AddOns(add_ons::AddOns),

    /// Create, list and withdraw trial codes, which sites use to start trials
    #[command(subcommand)]
    TrialCodes(trial_codes::TrialCodes),

    /// Reinstate a suspended license
    #[command(after_help = "Example:\n  license-server reinstate FXSGHT-ABCD-EFGH-JKMN-PQRS")]
    Reinstate {
        /// License key, in uppercase or lowercase, with or without hyphens; - reads it from
        /// standard input
        key: SecretArgument,
    },

    /// Require a proof of the installation key for all calls about a license, or no longer
    #[command(after_help = "Examples:\n  \
        license-server require-proof FXSGHT-ABCD-EFGH-JKMN-PQRS\n  \
        license-server require-proof FXSGHT-ABCD-EFGH-JKMN-PQRS --off\n\n\
        License Clients that send no proofs, such as version 1.0.0, get no answers while proofs are \
        required.")]
    RequireProof {
        /// License key, in uppercase or lowercase, with or without hyphens; - reads it from
        /// standard input
        key: SecretArgument,
        /// Proofs are no longer required
        #[arg(long)]
        off: bool,
    },

    /// Revoke a license permanently
    #[command(after_help = "Example:\n  license-server revoke FXSGHT-ABCD-EFGH-JKMN-PQRS")]
    Revoke {
        /// License key, in uppercase or lowercase, with or without hyphens; - reads it from
        /// standard input
        key: SecretArgument,
        /// Message for the site's operator
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
    },

    /// List seats, free a seat, or release a freed seat before its lease has ended
    #[command(subcommand)]
    Seats(seats::Seats),

    /// List, add, edit and merge customers
    #[command(subcommand)]
    Customers(customers::Customers),

    /// Create, list and revoke the tokens of people and programs
    #[command(subcommand)]
    Tokens(tokens::Tokens),

    /// Sign license files for sites without internet
    #[command(subcommand)]
    Offline(offline::Offline),

    /// Sign a release document for the VMS
    #[command(subcommand)]
    Release(release::Release),

    /// Show and confirm the clock used for signing
    #[command(subcommand)]
    Clock(clock::Clock),

    /// List suspicions: copies, impossible sequence numbers, changed
    /// hardware
    #[command(after_help = "Examples:\n  \
        license-server suspicions\n  license-server suspicions FXSGHT-ABCD-EFGH-JKMN-PQRS")]
    Suspicions(suspicions::Suspicions),

    /// Print the audit log, oldest entries first
    #[command(after_help = "Examples:\n  \
        license-server audit\n  license-server audit --json > audit.jsonl")]
    Audit(audit::Audit),

    /// Check whether the service is ready; for container probes
    #[command(after_help = "Example:\n  license-server health --port 4000")]
    Health(health::Health),

    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  \
        license-server completions bash > /etc/bash_completion.d/license-server")]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Parses the command line; on an error, prints what is expected and exits
    /// with 2.
    #[must_use]
    pub fn parse_or_exit() -> Self {
        Self::parse_from_process().unwrap_or_else(|mistake| mistake.exit())
    }

    fn parse_from_process() -> Result<Self, Mistake> {
        let (matches, warnings) = command_line::read(Self::command(), std::env::args_os())?;
        for warning in warnings {
            say(warning);
        }
        let cli = Self::from_arg_matches(&matches);
        let mut cli = cli.map_err(|error| Mistake::Usage(error.into()))?;
        if let Command::Offline(command) = &mut cli.command
            && let Some(matches) = matches.subcommand_matches("offline")
        {
            command.note_sources(matches);
        }
        Ok(cli)
    }
}

/// Runs the subcommand. If `.env` was ignored, no subcommand runs, because it would use a different
/// database.
///
/// # Errors
/// Any failure of the command, as a message for people.
pub fn run(cli: Cli, dot_env: &DotEnv) -> anyhow::Result<()> {
    dot_env.check()?;
    runtime::run(dispatch(cli))
}

async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let Cli {
        storage,
        author,
        json,
        command,
    } = cli;
    if !matches!(command, Command::Health(_) | Command::Completions { .. }) {
        storage.require_chosen()?;
    }
    let now = SystemClock.now();
    let is_command = !matches!(command, Command::Serve(_));
    // A command prints its result to standard output; the log is only for problems.
    let warnings = LogFilter::of(LevelFilter::WARN);
    let _log = is_command.then(|| telemetry::start(&warnings, LogFormat::Text));
    let invocation = Invocation::new(storage, author);
    let storage = &invocation.storage;
    match command {
        Command::Serve(settings) => serve::run(storage, settings).await,
        Command::Init => init::run(storage, json, now).await,
        Command::Keys(command) => keys::run(&invocation, command, json, now).await,
        Command::Issue(command) => issue::run(&invocation, *command, json, now).await,
        Command::Plans(command) => plans::run(&invocation, command, json, now).await,
        Command::List(command) => licenses::list(storage, command, json, now).await,
        Command::Installations(command) => installations::run(storage, command, json, now).await,
        Command::Usage(command) => usage::run(storage, command, json, now).await,
        Command::Show { key } => licenses::show(storage, &license_key(key)?, json, now).await,
        Command::Suspend { key, message } => {
            let key = license_key(key)?;
            licenses::set(&invocation, &key, Status::Suspended, message, json, now).await
        }
        Command::Renew(command) => licenses::renew(&invocation, command, json, now).await,
        Command::Amend(command) => amend::run(&invocation, *command, json, now).await,
        Command::Amendments(command) => amend::list(storage, command, json).await,
        Command::Bulk(command) => bulk::run(&invocation, command, json).await,
        Command::TrialCodes(command) => trial_codes::run(&invocation, command, json, now).await,
        Command::AddOns(command) => add_ons::run(&invocation, command, json, now).await,
        Command::Reinstate { key } => {
            let key = license_key(key)?;
            licenses::set(&invocation, &key, Status::Active, None, json, now).await
        }
        Command::Revoke { key, message } => {
            let key = license_key(key)?;
            licenses::set(&invocation, &key, Status::Revoked, message, json, now).await
        }
        Command::RequireProof { key, off } => {
            let key = license_key(key)?;
            licenses::require(&invocation, &key, !off, json, now).await
        }
        Command::Seats(command) => seats::run(&invocation, command, json, now).await,
        Command::Customers(command) => customers::run(&invocation, command, json, now).await,
        Command::Tokens(command) => tokens::run(&invocation, command, json, now).await,
        Command::Offline(command) => offline::run(&invocation, command, json).await,
        Command::Release(command) => release::run(&invocation, command, json, now).await,
        Command::Clock(command) => clock::run(&invocation, command, json, now).await,
        Command::Suspicions(command) => suspicions::run(storage, command, json).await,
        Command::Audit(command) => audit::run(storage, command, json).await,
        Command::Health(command) => health::run(&command, json).await,
        Command::Completions { shell } => {
            // Written to memory first: clap_complete panics if it cannot write.
            let (mut command, mut script) = (Cli::command(), Vec::new());
            clap_complete::generate(shell, &mut command, "license-server", &mut script);
            println!("{}", String::from_utf8(script)?.trim_end());
            Ok(())
        }
    }
}

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

/// The license key argument.
fn license_key(argument: SecretArgument) -> anyhow::Result<String> {
    argument.read(LICENSE_KEY)
}
