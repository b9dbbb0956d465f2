//! Checks everything that the service depends on. Each check reports what it found, and
//! what to do if there is a problem. The checks change nothing.

mod access;
mod database;
pub mod diagnostics;
mod disk;
mod effective_time;
mod features;
mod gate_routes;
mod license;
mod license_server;
mod machine;
mod port;
mod release;
mod schedule;
pub mod support_file;
mod usage_queries;

use std::borrow::Cow;
use std::fmt;

use license_service::clock::Clock;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::config::Settings;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No problem.
    Ok,
    /// Works, but may cause problems.
    Warning,
    /// Does not work.
    Error,
}

/// The result of a check.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What was checked.
    pub what: Cow<'static, str>,
    /// The severity.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Finding {
    pub(crate) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            health: Health::Ok,
            found: found.into(),
            advice: None,
        }
    }

    pub(crate) fn warning(
        what: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            health: Health::Warning,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    fn error(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            health: Health::Error,
            ..Self::warning(what, found, advice)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.health {
            Health::Ok => "ok     ",
            Health::Warning => "warning",
            Health::Error => "ERROR  ",
        };
        write!(f, "{word}  {}: {}", self.what, self.found)?;
        match &self.advice {
            Some(advice) => write!(f, "\n         → {advice}"),
            None => Ok(()),
        }
    }
}

/// Who runs the checks.
#[derive(Clone, Copy)]
pub enum Examiner<'a> {
    /// A command, which opens its own connections to the database.
    Command,
    /// The running service, which uses its existing connections.
    Service(&'a App),
}

/// Runs all checks; `show` gets each finding as soon as it is available.
pub async fn examine(
    settings: &Settings,
    clock: &dyn Clock,
    examiner: Examiner<'_>,
    mut show: impl FnMut(&Finding),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |finding: Finding| {
        show(&finding);
        findings.push(finding);
    };
    if let (Examiner::Command, Err(others_choice)) = (examiner, settings.require_chosen()) {
        let advice =
            "only the port was checked, because checking these files would mean using them";
        add(Finding::error("files", others_choice.to_string(), advice));
        add(port::check(settings).await);
        return findings;
    }
    add(disk::check(&settings.state_dir));
    if let Some(finding) = effective_time::check(settings, examiner).await {
        add(finding);
    }
    for finding in database::check(settings, clock, examiner).await {
        add(finding);
    }
    for finding in license_server::check(settings, clock, examiner).await {
        add(finding);
    }
    if let Some(finding) = schedule::check(settings, examiner).await {
        add(finding);
    }
    if let Some(finding) = license::check(settings, examiner).await {
        add(finding);
    }
    if let Some(finding) = release::check(settings, examiner).await {
        add(finding);
    }
    for finding in machine::check(settings, examiner) {
        add(finding);
    }
    add(port::check(settings).await);
    add(access::check(settings));
    if let Some(finding) = gate_routes::check(settings.gate_routes.as_deref()) {
        add(finding);
    }
    if let Some(finding) = features::check(settings, examiner).await {
        add(finding);
    }
    findings
}
