//! Opens files that settings name, or that are in a known place, such as those in `STATE_DIR`.
//!
//! Opening a named pipe waits for a writer, and reading a device may never end: anyone who can write to
//! the directory could keep the service from starting. Only commands read other kinds of files, if
//! an argument names them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file for reading.
///
/// # Errors
/// If it cannot be opened, or is not a regular file.
pub fn open(file: &Path) -> io::Result<File> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(file)?;
    match opened.metadata()?.is_file() {
        true => Ok(opened),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// Reads a file.
///
/// # Errors
/// As [`open`]; or if it is longer than `max_bytes`.
pub fn read(file: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(file)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let error = format!("it is longer than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("short"), "1234").unwrap();
        std::fs::write(file("long"), "12345").unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(file("pipe"))
            .status();
        assert!(pipe.unwrap().success());
        std::os::unix::fs::symlink(file("pipe"), file("link")).unwrap();
        let read = |name: &str| read(&file(name), 4).map_err(|error| error.to_string());
        assert_eq!(read("short"), Ok(b"1234".to_vec()));
        assert_eq!(read("long").unwrap_err(), "it is longer than 4 bytes");
        for odd in ["pipe", "link", ".", "/dev/zero"] {
            assert_eq!(read(odd).unwrap_err(), "it is not a regular file", "{odd}");
        }
        let missing = super::read(&file("missing"), 4).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
