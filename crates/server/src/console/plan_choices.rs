//! The plans that a form offers.

use license_core::plan::Plan;
use sea_orm::ConnectionTrait;

use super::fields::Fields;
use crate::store::StoreError;
use crate::store::plans::{self, PublishedPlan};

/// The plans of a form with the field `plan`.
pub(super) struct PlanChoices {
    /// The newest version of each plan that is offered.
    pub(super) offered: Vec<PublishedPlan>,
    /// The version that is chosen; empty for none.
    pub(super) chosen: String,
    /// The chosen version, if it is not one of those offered.
    pub(super) other: Option<String>,
}

impl PlanChoices {
    /// The plans that are for this form.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn read(
        db: &impl ConnectionTrait,
        fields: &Fields,
        is_offered: impl Fn(&Plan) -> bool,
    ) -> Result<Self, StoreError> {
        let mut offered = plans::newest(db).await?;
        offered.retain(|plan| is_offered(&plan.contents));
        let is_listed = |text: &str| offered.iter().any(|it| it.version.to_string() == text);
        Ok(Self {
            chosen: fields.text("plan").to_owned(),
            other: fields.some("plan").filter(|text| !is_listed(text)),
            offered,
        })
    }
}
