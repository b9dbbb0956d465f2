//! Keeps up with the document of the installed release, which an upgrade of the VMS replaces.

use std::convert::Infallible;
use std::sync::Arc;

use chrono::TimeDelta;
use license_core::release::Consequence;

use crate::app::App;
use crate::licensing::release::{follow, report};

/// The interval.
const FOLLOW_INTERVAL: TimeDelta = TimeDelta::minutes(1);

pub(super) async fn run(app: Arc<App>) -> Infallible {
    let mut reported = Consequence::None;
    loop {
        follow(&app).await;
        reported = report(&app, reported);
        app.clock
            .sleep_until(app.clock.now() + FOLLOW_INTERVAL)
            .await;
    }
}
