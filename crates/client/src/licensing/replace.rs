//! Shows what changes when another license key replaces the active one, and gives the former seat
//! back.

use license_core::issued_code::KeyKind;
use license_core::license::License;
use license_core::license_key;
use license_core::protocol::{DeactivateRequest, PreviewRequest};
use license_core::replacement::{Difference, differences};
use license_core::response::{Contact, NoContact, Unpreviewed, previewed};

use crate::app::App;
use crate::identity::Identity;
use crate::licensing::entered_key::{NotALicenseKey, check_is_no_code};
use crate::licensing::exchange::exchange_about;
use crate::store::StoreError;

/// What another license key would change.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The license that is active; `None` if there is none, or if it has the same key.
    pub replaced: Option<License>,
    /// The license that the key activates.
    pub license: License,
    /// What the site gains and loses.
    pub differences: Vec<Difference>,
}

/// Why it is not known what a license key would change.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// It is a code of ours that is no license key.
    #[error(transparent)]
    Key(#[from] NotALicenseKey),
    /// The License Server refuses the key.
    #[error("{0}")]
    Refused(String),
    /// The License Server does not tell.
    #[error(
        "Cannot preview what the license key grants, because the License Server does not support \
         previews"
    )]
    NotOffered,
    /// The License Server did not respond.
    #[error("Cannot preview what the license key grants: {0}")]
    NoContact(NoContact),
    /// It is not known which machine this is.
    #[error("{}", .0.of_change("Cannot preview what the license key grants"))]
    NoIdentity(#[from] StoreError),
}

/// Whether activating a key would replace another license.
#[must_use]
pub fn replaces(app: &App, entered: &str) -> bool {
    let evidence = &app.snapshot().evidence;
    let license_key = license_key::normalize(entered);
    evidence.lease.is_some() && !license_key::same(evidence.license_key(), &license_key)
}

/// Asks the License Server what a license key grants, and compares it with the active license. It
/// changes nothing.
///
/// # Errors
/// One [`PreviewError`] for each reason.
pub async fn preview(app: &App, entered: &str) -> Result<Preview, PreviewError> {
    check_is_no_code(entered)?;
    let identity = app.knowledge.require_identity()?;
    let request = PreviewRequest {
        license_key: license_key::normalize(entered),
        hardware_id: identity.hardware_id.clone(),
    };
    let reply = app.upstream.preview(&identity.installation_id, &request);
    let license = previewed(&reply.await, &request.license_key);
    let license = license.map_err(|error| match error {
        Unpreviewed::Refused(refusal) => PreviewError::Refused(refusal.message().to_owned()),
        Unpreviewed::NoContact(NoContact::Unexpected { .. })
            if KeyKind::of(entered) != Some(KeyKind::License) =>
        {
            PreviewError::NotOffered
        }
        Unpreviewed::NoContact(NoContact::Unexpected {
            status: 404 | 405, ..
        }) => PreviewError::NotOffered,
        Unpreviewed::NoContact(why) => PreviewError::NoContact(why),
    })?;
    let snapshot = app.snapshot();
    let replaced = snapshot.license().filter(|_| replaces(app, entered));
    let now = app.clock.now();
    Ok(Preview {
        differences: replaced.map_or_else(Vec::new, |it| differences(it, &license, now)),
        replaced: replaced.cloned(),
        license,
    })
}

/// What became of the seat of a license that was replaced.
#[derive(Clone, Debug)]
pub enum FormerSeat {
    /// It is free.
    Freed,
    /// The License Server had no seat to free.
    NotHeld,
    /// It is still taken, because the License Server did not respond.
    Kept(NoContact),
}

/// The license that was active before another one replaced it.
pub(super) struct Former {
    license_key: String,
    newest_seq: Option<u64>,
}

impl Former {
    /// The license that is replaced if `license_key` is activated now.
    pub(super) fn before(app: &App, license_key: &str) -> Option<Self> {
        let evidence = &app.snapshot().evidence;
        let former = evidence.license_key();
        let is_other = evidence.lease.is_some() && !license_key::same(former, license_key);
        is_other.then(|| Self {
            license_key: former.to_owned(),
            newest_seq: evidence.newest_seq(former),
        })
    }

    /// Gives its seat back.
    pub(super) async fn give_back(self, app: &App, identity: &Identity) -> FormerSeat {
        let request = DeactivateRequest {
            license_key: self.license_key,
            hardware_id: identity.hardware_id.clone(),
        };
        match exchange_about(app, identity, &request, self.newest_seq).await {
            Contact::Confirmed(_) => FormerSeat::Freed,
            Contact::Denied(_) => FormerSeat::NotHeld,
            Contact::None(why) => FormerSeat::Kept(why),
        }
    }
}
