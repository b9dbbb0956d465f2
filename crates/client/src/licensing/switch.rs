//! Switch a feature off or on for this site.

use license_core::feature::{FeatureKey, is_core};

use crate::app::App;
use crate::store::StoreError;

/// Why a feature was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// Core features are always on.
    #[error("'{0}' is a core feature, which cannot be switched off")]
    Core(String),
    /// The feature is unknown.
    #[error("Unknown feature '{0}'; GET /api/license/features lists the features")]
    Unknown(String),
    /// The database returned an error.
    #[error("{}", .0.of_change("The feature was not changed, because the database is unavailable"))]
    NotStored(#[from] StoreError),
}

/// Switches a feature that the license lists, or may list, off or on. A feature that is switched
/// off stays off with the next license.
///
/// # Errors
/// One [`SwitchError`] for each reason; nothing has changed then.
pub async fn switch(app: &App, key: &str, on: bool) -> Result<(), SwitchError> {
    if is_core(key) {
        return if on {
            Ok(())
        } else {
            Err(SwitchError::Core(key.to_owned()))
        };
    }
    let unknown = || SwitchError::Unknown(key.to_owned());
    let key = FeatureKey::parse(key).map_err(|_| unknown())?;
    if !app.snapshot().known_features().contains(&key) {
        return Err(unknown());
    }
    app.knowledge.turn().await.switch(&key, on).await?;
    tracing::info!(%key, on, "feature switched");
    Ok(())
}
