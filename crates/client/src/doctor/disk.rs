//! Can `STATE_DIR` be written, and is there room?

use std::path::Path;

use license_service::presentable_url::{presentable_absolute, reason_without_path};
use license_service::state_dir::temporary_file;

use super::Finding;

const WHAT: &str = "STATE_DIR";
/// Less than this is too little to go on with.
const LITTLE: u64 = 100 * 1024 * 1024;

pub(super) fn check(directory: &Path) -> Finding {
    let shown = presentable_absolute(directory);
    if !directory.exists() {
        let found = format!("'{shown}' is not there yet; it is made at the first start");
        return Finding::ok(WHAT, found);
    }
    if let Err(error) = temporary_file(directory) {
        let error = reason_without_path(&error);
        return Finding::error(
            WHAT,
            format!("'{shown}' cannot be written: {error}"),
            "give the service's user the right to write there, or set STATE_DIR",
        );
    }
    match rustix::fs::statvfs(directory) {
        Ok(room) if room.f_bavail.saturating_mul(room.f_frsize) < LITTLE => Finding::warning(
            WHAT,
            format!("'{shown}' has less than 100 MB left"),
            "make room: a full disk keeps licenses from being stored",
        ),
        Ok(room) => {
            let mib = room.f_bavail.saturating_mul(room.f_frsize) / 1024 / 1024;
            Finding::ok(WHAT, format!("'{shown}' can be written; {mib} MB are left"))
        }
        Err(error) => Finding::warning(
            WHAT,
            format!("'{shown}' can be written, but how much room is left is not known: {error}"),
            "look at it with df",
        ),
    }
}
