//! `license-client validate`

use std::process::ExitCode;

use crate::cli::status;
use crate::running_service::ServiceArgs;

/// Validates, and shows the new status.
pub(super) async fn run(service: &ServiceArgs) -> anyhow::Result<ExitCode> {
    let answer = service.post("/api/license/validate", None).await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if service.print_json(&answer) {
        let yes = answer.flag("valid");
        return Ok(if yes {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(super::NO)
        });
    }
    status::run(service).await
}
