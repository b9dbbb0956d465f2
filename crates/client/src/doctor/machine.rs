//! How this machine is identified, and the keys that it trusts.

use std::path::Path;

use license_core::keyring::Keyring;
use license_service::presentable_url::presentable_path;
use license_service::text_file;

use super::{Examiner, Finding};
use crate::config::Settings;
use crate::host::components;

pub(super) fn check(settings: &Settings, examiner: Examiner<'_>) -> Vec<Finding> {
    [
        Some(hardware()),
        keys(settings.license_trusted_keys.as_deref(), examiner),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn hardware() -> Finding {
    const WHAT: &str = "hardware";
    let components = components::read(Path::new("/"));
    let readable: Vec<&str> = components
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(component, _)| component.as_str())
        .collect();
    let found = format!("readable components: {}", readable.join(", "));
    if readable.len() < 2 {
        return Finding::warning(
            WHAT,
            found,
            "with fewer than two components, a move to another machine cannot be detected; this is \
             normal in a container",
        );
    }
    Finding::ok(WHAT, found)
}

fn keys(file: Option<&Path>, examiner: Examiner<'_>) -> Option<Finding> {
    const WHAT: &str = "LICENSE_TRUSTED_KEYS";
    let file = file?;
    let shown = presentable_path(file);
    let advice = "set LICENSE_TRUSTED_KEYS to the file that the vendor exported with \
                  'license-server keys export'";
    let read = text_file::read(file).map_err(|error| error.to_string());
    let keyring =
        read.and_then(|text| Keyring::from_json(&text).map_err(|error| error.to_string()));
    Some(match keyring {
        Ok(keyring) => {
            let ids: Vec<&str> = keyring.key_ids().collect();
            let found = format!("'{shown}' contains {}", ids.join(", "));
            match examiner {
                Examiner::Service(app) if !app.keys.began_with(&keyring) => Finding::warning(
                    WHAT,
                    format!("{found}, but the file has changed since the service was started"),
                    "restart the License Client to use the new file",
                ),
                Examiner::Service(_) | Examiner::Command => Finding::ok(WHAT, found),
            }
        }
        Err(error) => Finding::error(WHAT, format!("cannot use '{shown}': {error}"), advice),
    })
}
