//! Follow the document of the installed release, and check a release before it is installed.

use license_core::document::VerifiedRelease;
use license_core::feature::FeatureKey;
use license_core::release::{Consequence, Coverage, Release, coverage};
use license_core::release_words;

use crate::app::App;
use crate::entitled::Entitled;
use crate::knowledge::snapshot::Snapshot;
use crate::release_document::{self, ReleaseDocument, UnusableDocument};

/// Reads the document of the installed release, and puts it into effect if it has changed.
pub async fn follow(app: &App) {
    let (file, keys) = (app.release_document.clone(), app.keys.clone());
    let reading = move || release_document::read(&file, &keys.trust());
    let read = match tokio::task::spawn_blocking(reading).await {
        Ok(read) => read,
        Err(error) => {
            tracing::error!(%error, "failed to read the release document, keeping the previous \
                one");
            return;
        }
    };
    if *app.snapshot().release() == read {
        return;
    }
    log(app, &read);
    app.knowledge.turn().await.set_release(read);
}

fn log(app: &App, read: &ReleaseDocument) {
    match read {
        ReleaseDocument::Absent => tracing::info!("the release document was removed"),
        ReleaseDocument::Verified(document) => {
            let Release {
                version,
                released,
                exempt,
            } = document.release();
            tracing::info!(version, %released, exempt, "release document verified");
        }
        ReleaseDocument::Unusable(why) => {
            let security = matches!(why, UnusableDocument::Invalid(_));
            if security {
                app.metrics.security_event();
            }
            tracing::warn!(security, %why, "ignoring the release document");
        }
    }
}

/// Logs what the installed release means for the site if that is something else than `known`, and
/// returns it.
pub fn report(app: &App, known: Consequence) -> Consequence {
    let snapshot = app.snapshot();
    let consequence = snapshot.release_consequence();
    if consequence == known {
        return known;
    }
    let until = snapshot.license().and_then(|it| it.updates_until_text());
    let installed = snapshot.release().verified();
    let version = installed.map(|installed| installed.release().version.as_str());
    match consequence {
        Consequence::None => tracing::info!(
            version,
            "the warning about the installed release no longer applies"
        ),
        Consequence::Warning => tracing::warn!(
            version,
            until,
            "the license does not cover the installed release; all features stay on"
        ),
        Consequence::FeaturesOff => tracing::warn!(
            version,
            until,
            "the license does not cover the installed release; licensed features are off"
        ),
    }
    consequence
}

/// What the operator has to know about the installed release; `None` if there is nothing.
#[must_use]
pub fn warning(snapshot: &Snapshot) -> Option<String> {
    match snapshot.release() {
        ReleaseDocument::Absent => None,
        ReleaseDocument::Verified(document) => {
            let release = document.release();
            let coverage = coverage(snapshot.license(), release);
            release_words::installed(release, coverage, snapshot.release_consequence())
        }
        ReleaseDocument::Unusable(why) => Some(format!(
            "The signed document of the installed release cannot be used: {why}. No feature is affected"
        )),
    }
}

/// What would follow from installing a release.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// The release.
    pub release: Release,
    /// Whether the license covers it.
    pub coverage: Coverage,
    /// What follows from that.
    pub consequence: Consequence,
    /// The licensed features in force, if the license does not cover it.
    pub features: Vec<FeatureKey>,
    /// A message for people.
    pub message: String,
}

/// Verifies the text of a release's document.
///
/// # Errors
/// [`UnusableDocument`].
pub fn verify(app: &App, document: &str) -> Result<VerifiedRelease, UnusableDocument> {
    release_document::verify(document, &app.keys.trust())
}

/// What would follow from installing `release` now.
#[must_use]
pub fn check_upgrade(entitled: &Entitled, release: Release) -> Upgrade {
    let license = entitled.snapshot.license();
    let coverage = coverage(license, &release);
    let consequence = Consequence::of(license, &release);
    let features = match coverage {
        Coverage::NotCovered { .. } => entitled.licensed_features().to_vec(),
        Coverage::Covered | Coverage::Unknown => Vec::new(),
    };
    Upgrade {
        message: release_words::upgrade(&release, coverage, consequence, &features),
        release,
        coverage,
        consequence,
        features,
    }
}
