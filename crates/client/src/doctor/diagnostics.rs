//! The checks that the running service makes with its own settings, for the console and
//! for commands.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_service::clock::{Clock as _, SystemClock};

use super::support_file::{self, Report};
use super::{Examiner, Finding, examine};
use crate::app::App;
use crate::config::Settings;
use crate::licensing::usage::{SHARED, measure};
use crate::running_service::ServiceArgs;
use crate::shared_reading::SharedReading;

/// How long findings are reused before the checks run again.
const MAX_AGE: Duration = Duration::from_secs(5);

/// Runs the checks, one run at a time.
pub struct Diagnostics {
    settings: Arc<Settings>,
    examination: SharedReading<Arc<Examination>>,
    support_file: SharedReading<Arc<str>>,
}

/// The findings of the checks.
pub struct Examination {
    /// When the checks ran.
    pub at: DateTime<Utc>,
    /// One finding per check.
    pub findings: Vec<Finding>,
}

impl Diagnostics {
    /// For a service with these settings; no check has run yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            examination: SharedReading::new(Arc::new(SystemClock)),
            support_file: SharedReading::new(Arc::new(SystemClock)),
        }
    }

    /// The settings of the service.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The latest findings, if any.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Examination>> {
        self.examination.latest()
    }

    /// Runs the checks, or returns findings that are at most 5 s old. `None` if a check
    /// itself failed; the log has the details.
    pub async fn examine(&self, app: &Arc<App>) -> Option<Arc<Examination>> {
        let examining = || {
            let (app, settings) = (app.clone(), self.settings.clone());
            async move {
                measure(&app, SHARED).await;
                let examiner = Examiner::Service(&app);
                let findings = examine(&settings, &SystemClock, examiner, |_| {}).await;
                let at = SystemClock.now();
                Arc::new(Examination { at, findings })
            }
        };
        self.examination.get(MAX_AGE, examining).await
    }

    /// The support file, after the checks. `None` as in [`Diagnostics::examine`].
    pub async fn support_file(&self, app: &Arc<App>) -> Option<Arc<str>> {
        let examination = self.examine(app).await?;
        let writing = || {
            let settings = self.settings.clone();
            async move {
                let report = Report {
                    findings: &examination.findings,
                    settings: &settings.shown,
                    command: None,
                };
                let service = ServiceArgs::at(settings.host, settings.port);
                let file = support_file::support_file(report, &service, &SystemClock).await;
                Arc::from(format!("{file:#}\n"))
            }
        };
        self.support_file.get(MAX_AGE, writing).await
    }
}
