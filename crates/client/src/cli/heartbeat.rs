//! `license-client heartbeat`

use std::process::ExitCode;

use anyhow::bail;

use crate::running_service::ServiceArgs;

pub(super) async fn run(service: &ServiceArgs) -> anyhow::Result<ExitCode> {
    let answer = service.post("/api/license/heartbeat", None).await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    let printed = service.print_json(&answer);
    if !answer.flag("success") {
        bail!("{}", answer.text("message"));
    }
    if !printed {
        println!("{}", answer.text("message"));
    }
    Ok(ExitCode::SUCCESS)
}
