//! The question whether a license key may replace the active license.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use license_console::escaped::escaped;
use license_service::stderr::say;
use serde_json::{Value, json};

use crate::running_service::{Answer, ServiceArgs};

/// A license that would be replaced.
pub(super) struct Replacement {
    /// What changes, or why that is not known.
    lines: Vec<String>,
}

/// What was chosen on the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// Replace it without a question.
    pub(super) yes: bool,
    /// Free its seat.
    pub(super) give_back: bool,
}

impl Replacement {
    /// What activating a key would replace; `None` if nothing.
    pub(super) async fn of(service: &ServiceArgs, key: &str) -> anyhow::Result<Option<Self>> {
        // The next call has the key: who listens is checked before anything is asked.
        let status = service.get_trusted("/api/license/status").await?;
        if !status.flag("hasLicense") {
            return Ok(None);
        }
        let body = json!({ "licenseKey": key });
        let preview = service.ask_trusted_with("/api/license/activate/preview", body);
        let preview = preview.await?;
        if !preview.ok {
            // The activation fails for the same reason, or it is not known what changes.
            return Ok(Some(Self {
                lines: vec![format!("{}", preview.into_error())],
            }));
        }
        Ok(preview.flag("replaces").then(|| Self {
            lines: changes(&preview),
        }))
    }

    /// Shows what changes, and asks on a terminal. Returns whether to give the seat back; `None` if
    /// the license is to stay.
    pub(super) fn confirm(self, choice: Choice) -> anyhow::Result<Option<bool>> {
        say("another license is active; the new license would replace it, not add to it:");
        for line in &self.lines {
            say(format_args!("  {}", escaped(line)));
        }
        let can_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if choice.yes || !can_ask {
            if !choice.give_back {
                say(
                    "note: the seat of the previous license remains in use; to free it, use \
                     --give-back or ask your vendor",
                );
            }
            return Ok(Some(choice.give_back));
        }
        if !asked("Replace the license?")? {
            return Ok(None);
        }
        let give_back = choice.give_back || asked("Free the seat of the previous license?")?;
        Ok(Some(give_back))
    }
}

/// One line for each difference, losses first.
fn changes(preview: &Answer) -> Vec<String> {
    let changes = preview.body["changes"].as_array();
    let changes: Vec<&Value> = changes.into_iter().flatten().collect();
    let line = |change: &&Value| {
        let text = |name: &str| match &change[name] {
            Value::Bool(true) => "on".to_owned(),
            Value::Bool(false) => "off".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let sign = if change["loss"] == true { '-' } else { '+' };
        let key = text("key");
        let (before, after) = (text("before"), text("after"));
        format!("{sign} {key}: {after} instead of {before}")
    };
    let is_loss = |change: &&&Value| change["loss"] == true;
    let losses = changes.iter().filter(is_loss);
    let gains = changes.iter().filter(|change| !is_loss(change));
    let lines: Vec<String> = losses.chain(gains).map(line).collect();
    match lines.is_empty() {
        true => vec!["both licenses grant the same entitlements".to_owned()],
        false => lines,
    }
}

/// Asks on the terminal; anything but yes is no.
fn asked(question: &str) -> anyhow::Result<bool> {
    let mut stderr = std::io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let answer = line.trim().to_lowercase();
    Ok(answer == "y" || answer == "yes")
}
