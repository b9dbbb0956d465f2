//! Files of the state that are something else.

use std::process::Command;
use std::time::Duration;

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;

use super::FILES;
use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::vendor::Vendor;

on_both_engines! {
    a_pipe_in_the_state_directory_delays_no_start;
}

async fn a_pipe_in_the_state_directory_delays_no_start(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    site.activate(&key).await;
    for name in FILES {
        site.stop().await;
        let file = site.state_file(name);
        std::fs::remove_file(&file).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&file)
                .status()
                .unwrap()
                .success()
        );
        let start = tokio::time::timeout(Duration::from_secs(60), site.restart());
        start
            .await
            .unwrap_or_else(|_| panic!("{name} blocks the start"));
        assert_eq!(site.standing().await, "active", "{name}");
    }
    site.end().await;
}
