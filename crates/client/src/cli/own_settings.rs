//! The settings that a command sees, compared with those of the running service.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, CommandFactory as _};
use license_service::command_line::presentable_argument;
use license_service::presentable_url::SecretUrl;
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::config::{Settings, http_url};

/// The service to talk to.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ServiceUrl {
    /// Address of the running service; default is this machine at HOST and PORT
    #[arg(long, env = "LICENSE_CLIENT_URL", value_parser = http_url, value_name = "URL")]
    pub(super) url: Option<SecretUrl>,
}

/// The settings of the current subcommand, each with its displayable value and its
/// source.
pub(super) fn settings(matches: &ArgMatches, from_file: &[String]) -> Value {
    let command = Cli::command();
    let Some((name, matches)) = matches.subcommand() else {
        return Value::Null;
    };
    let settings = Settings::augment_args(clap::Command::new("settings"));
    let ids: BTreeSet<&str> = settings
        .get_arguments()
        .map(|it| it.get_id().as_str())
        .collect();
    let arguments = command.find_subcommand(name).into_iter();
    let arguments = arguments.flat_map(clap::Command::get_arguments);
    arguments
        .filter(|argument| ids.contains(argument.get_id().as_str()))
        .filter_map(|argument| {
            let variable = argument.get_env()?.display().to_string();
            let id = argument.get_id().as_str();
            let raw = matches.get_raw(id).into_iter().flatten();
            let raw: Vec<_> = raw.map(OsStr::to_string_lossy).collect();
            let value = (!raw.is_empty()).then(|| shown(argument, &raw.join(",")));
            let source = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => "flag",
                Some(ValueSource::EnvVariable) if from_file.contains(&variable) => ".env",
                Some(ValueSource::EnvVariable) => "environment",
                Some(_) => "default",
                None => "not set",
            };
            Some((variable, json!({"value": value, "source": source})))
        })
        .collect()
}

/// `STATE_DIR`, unless it is the default: any user may have created a directory of that name in the
/// working directory.
pub(super) fn state_dir_if_set(matches: &ArgMatches) -> Option<PathBuf> {
    let (_, matches) = matches.subcommand()?;
    let is_set = matches.value_source("state_dir")? != ValueSource::DefaultValue;
    let directory = matches.get_one::<PathBuf>("state_dir");
    directory.filter(|_| is_set).cloned()
}

/// A relative path names another file in another directory.
fn shown(argument: &Arg, value: &str) -> String {
    let is_path = argument.get_value_parser().type_id() == std::any::TypeId::of::<PathBuf>();
    let absolute = is_path.then(|| std::path::absolute(Path::new(value)).ok());
    match absolute.flatten() {
        Some(path) => presentable_argument(argument, &path.to_string_lossy()),
        None => presentable_argument(argument, value),
    }
}

/// A setting that differs between the command and the service.
pub(super) struct Difference {
    pub(super) variable: String,
    /// `None` if it is not set.
    pub(super) service: Option<String>,
    pub(super) command: Option<String>,
}

/// The differences. Masked values look the same.
pub(super) fn differences(service: &Value, command: &Value) -> Vec<Difference> {
    let value = |settings: &Value, variable: &str| {
        let value = &settings[variable]["value"];
        value.as_str().map(str::to_owned)
    };
    let variables = command.as_object().into_iter().flatten();
    variables
        .map(|(variable, _)| Difference {
            service: value(service, variable),
            command: value(command, variable),
            variable: variable.clone(),
        })
        .filter(|it| it.service != it.command)
        .collect()
}
