//! Do the queries from the settings count usage?

use license_service::database::Database;

use super::Finding;
use crate::config::Settings;
use crate::store::vms;

pub(super) async fn check(settings: &Settings, db: &Database) -> Vec<Finding> {
    let queries = [
        ("USAGE_CAMERAS_QUERY", &settings.usage_cameras_query),
        ("USAGE_USERS_QUERY", &settings.usage_users_query),
        ("USAGE_STORAGE_GB_QUERY", &settings.usage_storage_gb_query),
    ];
    let mut findings = Vec::new();
    for (setting, query) in queries {
        let Some(query) = query else {
            continue;
        };
        findings.push(match vms::number(db, query).await {
            Ok(Some(number)) => Finding::ok(setting, format!("counts {number}")),
            Ok(None) => Finding::warning(
                setting,
                "the query does not return a number",
                "write a SELECT with one row and one column, whose value is 0 or more",
            ),
            Err(error) => Finding::error(
                setting,
                format!("fails: {error}"),
                "correct the query, or allow the user in DATABASE_URL to read its tables; until \
                 the query works, the last known number is reported",
            ),
        });
    }
    findings
}
