//! The files that commands write for people: the only way in which they do.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::presentable_url::presentable_path;

/// Who may read a file, besides root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Only the user who runs the command: license keys, hardware ids, settings.
    Owner,
    /// Every user whom the umask allows: public keys.
    Everyone,
}

/// Writes a file, in full or not at all. A file that exists is replaced by a new one, which
/// keeps neither its owner nor its mode. No link is followed.
///
/// # Errors
/// When the file cannot be written, or when something other than a regular file has this name.
pub fn write(file: &Path, text: &str, readers: Readers) -> anyhow::Result<()> {
    replace(file, text, readers)
        .with_context(|| format!("cannot write '{}'", presentable_path(file)))
}

fn replace(file: &Path, text: &str, readers: Readers) -> io::Result<()> {
    // A rename would replace a device or a link, such as /dev/stdout.
    if fs::symlink_metadata(file).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other(
            "it is not a regular file; choose another name",
        ));
    }
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everyone => 0o644,
    };
    let mut new = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(file: &Path) -> u32 {
        fs::symlink_metadata(file).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn only_the_owner_can_read_a_file_also_when_it_replaces_an_open_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("request.txt");
        write(&file, "secret", Readers::Owner).unwrap();
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        // A reader of the old file does not see the new content, and neither does its other name.
        let other_name = directory.path().join("other");
        fs::hard_link(&file, &other_name).unwrap();
        write(&file, "new secret", Readers::Owner).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap(), "new secret");
        assert_eq!(fs::read_to_string(&other_name).unwrap(), "secret");
        let public = directory.path().join("keys.json");
        write(&public, "{}", Readers::Everyone).unwrap();
        assert_eq!(mode(&public) & !0o044, 0o600);
        // Nothing is left behind.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn links_and_directories_are_neither_followed_nor_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        fs::write(&target, "kept").unwrap();
        let link = directory.path().join("link");
        symlink(&target, &link).unwrap();
        let dangling = directory.path().join("dangling");
        symlink(directory.path().join("later"), &dangling).unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        for file in [&link, &dangling, &inner] {
            let error = write(file, "secret", Readers::Owner).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.starts_with("cannot write '"), "{error}");
            assert!(error.contains("not a regular file"), "{error}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        assert!(!directory.path().join("later").exists());
        let error = write(
            &directory.path().join("none/file"),
            "secret",
            Readers::Owner,
        );
        assert!(error.is_err());
    }
}
