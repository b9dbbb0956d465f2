//! Can the table of `GATE_ROUTES` be used, and how much does it contain?

use std::path::Path;

use license_service::presentable_url::presentable_path;

use super::Finding;
use crate::gate_routes::GateRoutes;

const WHAT: &str = "gate routes";

/// Reads the file, which a running service uses after the next reload. `None` if none is set.
pub(super) fn check(file: Option<&Path>) -> Option<Finding> {
    let file = file?;
    Some(match GateRoutes::load(Some(file)) {
        Ok(routes) => {
            let table = routes.table()?;
            let shown = presentable_path(file);
            let (routes, default) = (table.len(), table.otherwise().as_str());
            Finding::ok(
                WHAT,
                format!("'{shown}': routes: {routes}, default: {default}"),
            )
        }
        Err(error) => Finding::error(
            WHAT,
            error.to_string(),
            "correct the file; until then, a running service keeps its previous table, but cannot \
             be restarted",
        ),
    })
}
