//! Who may make changes?

use super::Finding;
use crate::attached_networks::AttachedNetworksError;
use crate::config::{Settings, TrustedNetwork};

const WHAT: &str = "permission to make changes";

pub(super) fn check(settings: &Settings) -> Finding {
    let networks = match described(&settings.trusted_networks) {
        Ok(networks) => networks,
        Err(error) => {
            let advice = "list networks in TRUSTED_NETWORKS, such as 10.1.0.0/16";
            return Finding::error(WHAT, format!("TRUSTED_NETWORKS: {error}"), advice);
        }
    };
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
            format!("{found}, so no caller can make changes"),
            "set ADMIN_TOKEN_FILE, or list networks in TRUSTED_NETWORKS",
        ),
        _ => Finding::ok(WHAT, found),
    }
}

/// The entries, and the networks for which `attached` stands.
fn described(entries: &[TrustedNetwork]) -> Result<String, AttachedNetworksError> {
    let networks: Vec<String> = entries.iter().map(ToString::to_string).collect();
    let networks = networks.join(",");
    Ok(match TrustedNetwork::attached(entries)? {
        Some(attached) => format!("{networks} (attached: {attached})"),
        None => networks,
    })
}
