//! What the site may use, as one value: what subscribers and OpenFeature
//! providers are told.

use chrono::{DateTime, Utc};
use license_core::announcement::{Announcement, Envelope, Signed};
use license_core::lease::Lease;

use crate::announced::Announced;
use crate::app::App;
use crate::licensing::switch::known;

/// What the site may use at `now`, and after.
#[must_use]
pub fn announcement(app: &App, now: DateTime<Utc>) -> Announcement {
    app.snapshot().announce(&known(app), now)
}

/// The same with a name.
#[must_use]
pub fn entitlements(app: &App, now: DateTime<Utc>) -> Announced {
    Announced::new(announcement(app, now))
}

/// What goes with it now; `with_proof` for who has keys of his own.
#[must_use]
pub fn envelope(app: &App, with_proof: bool) -> Envelope {
    let snapshot = app.snapshot();
    let signed = match &snapshot.evidence.lease {
        Some(Lease::Signed(document)) if with_proof => Some(Signed {
            license: document.jws().to_owned(),
            key_sets: app.keys.chain(),
        }),
        _ => None,
    };
    Envelope {
        now: app.clock.now(),
        signed,
    }
}
