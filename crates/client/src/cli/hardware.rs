//! `license-client hardware`

use std::process::ExitCode;

use crate::cli::NO;
use crate::running_service::ServiceArgs;

pub(super) async fn run(service: &ServiceArgs) -> anyhow::Result<ExitCode> {
    let answer = service.get("/api/license/hardware").await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !service.print_json(&answer) {
        println!("{}", answer.text("message"));
        println!("  Hardware id    {}", answer.text("hardwareId"));
        let components = answer.body["components"].as_object();
        for (component, change) in components.into_iter().flatten() {
            println!("  {component:<14} {}", change.as_str().unwrap_or_default());
        }
    }
    Ok(if answer.text("drift") == "drifted" {
        ExitCode::from(NO)
    } else {
        ExitCode::SUCCESS
    })
}
