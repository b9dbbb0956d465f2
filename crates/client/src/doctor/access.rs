//! Who may make changes?

use super::Finding;
use crate::config::{Settings, TrustedNetwork};

const WHAT: &str = "who may make changes";

pub(super) fn check(settings: &Settings) -> Finding {
    let networks: Vec<String> = settings
        .trusted_networks
        .iter()
        .map(ToString::to_string)
        .collect();
    let networks = networks.join(",");
    let token = &settings.admin_token;
    if token.admin_token.is_some() || token.admin_token_file.is_some() {
        return Finding::ok(
            WHAT,
            format!("TRUSTED_NETWORKS is {networks}, and an ADMIN_TOKEN is set"),
        );
    }
    let found = format!("TRUSTED_NETWORKS is {networks}, and no ADMIN_TOKEN is set");
    match settings.trusted_networks[..] {
        [TrustedNetwork::None] => Finding::warning(
            WHAT,
            format!("{found}: no caller can make changes"),
            "set ADMIN_TOKEN_FILE, or name networks in TRUSTED_NETWORKS",
        ),
        _ => Finding::ok(WHAT, found),
    }
}
