//! Is `STATE_DIR` writable, with enough free space?

use std::path::Path;

use license_service::dangling_link::DanglingLink;
use license_service::presence::exists;
use license_service::presentable_url::presentable_absolute;
use license_service::state_dir::{NotWritable, temporary_file};

use super::Finding;

const WHAT: &str = "STATE_DIR";
/// Less free space than this is reported.
const LITTLE: u64 = 100 * 1024 * 1024;

pub(super) fn check(directory: &Path) -> Finding {
    let shown = presentable_absolute(directory);
    if let Some(link) = DanglingLink::on(directory) {
        return Finding::error(WHAT, link.what(), DanglingLink::ADVICE);
    }
    match exists(directory) {
        Ok(true) => {}
        Ok(false) => {
            let found =
                format!("'{shown}' does not exist yet; it will be created on the first start");
            return Finding::ok(WHAT, found);
        }
        Err(unreadable) => return Finding::error(WHAT, unreadable.what(), unreadable.advice()),
    }
    if let Err(error) = temporary_file(directory) {
        let error = NotWritable::new(WHAT, directory, &error);
        return Finding::error(WHAT, error.what(), error.advice());
    }
    match rustix::fs::statvfs(directory) {
        Ok(room) if room.f_bavail.saturating_mul(room.f_frsize) < LITTLE => Finding::warning(
            WHAT,
            format!("'{shown}' has less than 100 MB of free space"),
            "free up space: licenses cannot be stored on a full disk",
        ),
        Ok(room) => {
            let mib = room.f_bavail.saturating_mul(room.f_frsize) / 1024 / 1024;
            Finding::ok(
                WHAT,
                format!("'{shown}' is writable, with {mib} MB of free space"),
            )
        }
        Err(error) => Finding::warning(
            WHAT,
            format!("'{shown}' is writable, but the free space is unknown: {error}"),
            "check the free space with df",
        ),
    }
}
