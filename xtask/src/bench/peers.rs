//! The servers that we compare with: the least that could answer the same request.

use std::process::Command;

use anyhow::Result;

use super::clients::ONE_WORKER;
use crate::program::{cargo, free_port, step};
use crate::stage::{Profile, Running, Stage};

/// The peers build with the License Client, as its examples.
pub(super) fn build(profile: Profile) -> Result<()> {
    let mut build = cargo(&["build", "--locked", "--bins", "--examples"]);
    build.args(["-p", "license-client", "-p", "license-server"]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    step("building the measured programs", &mut build)
}

/// axum with one route for the check, and one that answers 204.
pub(super) fn bare_axum(stage: &Stage) -> Result<Running> {
    example(stage, "examples/bare_axum")
}

/// hyper with one thread, borrowed JSON and a prepared response.
pub(super) fn bare_hyper(stage: &Stage) -> Result<Running> {
    example(stage, "examples/bare_hyper")
}

fn example(stage: &Stage, name: &str) -> Result<Running> {
    let port = free_port()?;
    let mut command = stage.command(name, "bare");
    command.envs([ONE_WORKER]).arg(port.to_string());
    stage.start(command, port)
}

/// nginx with one worker, which answers everything with the same text.
pub(super) fn constant_nginx(stage: &Stage) -> Result<Running> {
    let port = free_port()?;
    let answer = r#"{"featureKey":"module.analytics_advanced","available":false}"#;
    let server = format!(
        "server {{ listen 127.0.0.1:{port}; default_type application/json; \
         location / {{ return 200 '{answer}'; }} }}\n"
    );
    nginx(stage, port, &server)
}

/// nginx with one worker and this configuration in its `http` block, which listens on `port`.
pub(super) fn nginx(stage: &Stage, port: u16, http: &str) -> Result<Running> {
    let directory = stage.path(&format!("nginx-{port}"));
    std::fs::create_dir(&directory)?;
    let root = directory.display();
    let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
        .collect();
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {root}/pid;\nerror_log stderr warn;\n\
         user root;\nevents {{ worker_connections 2048; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 100000000;\n{scratch}{http}}}\n",
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(&directory);
    stage.start(command, port)
}
