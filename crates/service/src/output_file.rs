//! Writes the files that commands create for people. Commands write files only in this way.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::NamedTempFile;

use crate::durable_file;
use crate::presentable_url::presentable_path;

/// Who may read a file, apart from root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Only the user who runs the command: license keys, hardware ids, settings.
    Owner,
    /// Every user, as far as the umask allows: public keys.
    Everyone,
}

/// Writes a file, in full or not at all. An existing file is replaced by a new one with its own
/// owner and mode. Links are not followed. A command that changes something
/// first uses [`prepare`] instead.
///
/// # Errors
/// If the file cannot be written, or when something other than a regular file has this name.
pub fn write(file: &Path, text: &str, readers: Readers) -> anyhow::Result<()> {
    prepare(file, readers)?.write(text)
}

/// Opens a file that will be written as by [`write()`], so that a command finds out before it
/// changes anything whether its result can be written. Until then, nothing with this name
/// changes.
///
/// # Errors
/// As [`write()`].
pub fn prepare(file: &Path, readers: Readers) -> anyhow::Result<PreparedFile> {
    let opened = open_beside(file, readers).with_context(|| cannot_write(file))?;
    Ok(PreparedFile {
        opened,
        file: file.to_owned(),
    })
}

/// A file that can be written.
#[derive(Debug)]
pub struct PreparedFile {
    opened: NamedTempFile,
    file: PathBuf,
}

impl PreparedFile {
    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written, such as on a full disk.
    pub fn write(self, text: &str) -> anyhow::Result<()> {
        let Self { mut opened, file } = self;
        opened
            .write_all(text.as_bytes())
            .and_then(|()| Ok(durable_file::replace(opened, &file)?))
            .with_context(|| cannot_write(&file))
    }
}

fn open_beside(file: &Path, readers: Readers) -> io::Result<NamedTempFile> {
    // For other programs, this means standard output.
    if file.as_os_str() == "-" {
        return Err(io::Error::other(
            "'-' does not mean standard output here; to print the result, leave the option out; a \
             file with this name is ./-",
        ));
    }
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
    tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)
}

fn cannot_write(file: &Path) -> String {
    format!("cannot write '{}'", presentable_path(file))
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
        // Nothing remains.
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
        // Nothing changes until it is written, and nothing is left of a file that is not.
        fs::write(inner.join("file"), "old").unwrap();
        drop(prepare(&inner.join("file"), Readers::Owner).unwrap());
        assert_eq!(fs::read_to_string(inner.join("file")).unwrap(), "old");
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
        let error = write(Path::new("-"), "secret", Readers::Owner).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("does not mean standard output"), "{error}");
        assert!(!Path::new("-").exists());
        let error = write(
            &directory.path().join("none/file"),
            "secret",
            Readers::Owner,
        );
        assert!(error.is_err());
    }
}
