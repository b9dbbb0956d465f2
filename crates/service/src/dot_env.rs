//! Reads settings from a file.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};

use crate::ownership::distrust;
use crate::trimmed::{trimmed, unquoted};
use crate::{libpq_variables, regular_file, text_file};

/// The result of reading `.env`.
#[derive(Clone, Debug, Default)]
pub struct DotEnv {
    /// The variables that it has set.
    pub variables: Vec<String>,
    /// Why the file was ignored, and what to do.
    pub ignored: Option<String>,
}

impl DotEnv {
    /// For commands that would otherwise use another database.
    ///
    /// # Errors
    /// If the file was ignored.
    pub fn check(&self) -> anyhow::Result<()> {
        match &self.ignored {
            Some(why) => Err(anyhow!("{why}")),
            None => Ok(()),
        }
    }
}

/// Reads `.env` of the current directory, if there is one, into the
/// environment. Variables that are already set keep their values. A file that
/// another user may have written is ignored.
///
/// Call it before any thread is started: it sets environment variables.
///
/// # Errors
/// If the file cannot be read, or a line is not a setting.
pub(crate) fn load() -> anyhow::Result<DotEnv> {
    let text = match read(Path::new("."), rustix::process::geteuid().as_raw())? {
        Found::Nothing => return Ok(DotEnv::default()),
        Found::Untrusted(why) => {
            let ignored = Some(why);
            return Ok(DotEnv {
                ignored,
                ..DotEnv::default()
            });
        }
        Found::Text(text) => text,
    };
    let settings = parse(&text)?;
    let (ignored, settings): (Vec<_>, Vec<_>) = settings
        .into_iter()
        .partition(|(name, _)| libpq_variables::is_ignored(name));
    let ignored: Vec<_> = ignored.iter().map(|(name, _)| name.as_str()).collect();
    libpq_variables::warn(&ignored);
    let lines = settings.iter().map(|(name, value)| line(name, value));
    let quoted: String = lines.collect();
    let missing = settings.into_iter().map(|(name, _)| name);
    let missing = missing.filter(|name| !is_set(name)).collect();
    // The library's own message would repeat the line.
    dotenvy::from_read(quoted.as_bytes()).map_err(|_| anyhow!("the file .env cannot be read"))?;
    Ok(DotEnv {
        variables: missing,
        ignored: None,
    })
}

/// The content of a directory.
#[derive(Debug)]
enum Found {
    Nothing,
    /// A file that another user may have written.
    Untrusted(String),
    Text(String),
}

/// Reads `.env` if only root and `user` can have written it. It names files with which secrets are
/// compared and the address to which they are sent, so anyone who can write it can do whatever the
/// command can.
fn read(directory: &Path, user: u32) -> anyhow::Result<Found> {
    const UNREADABLE: &str = "the file .env cannot be read";
    let path = directory.join(".env");
    let link = match fs::symlink_metadata(&path) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(Found::Nothing);
        }
        found => found.context(UNREADABLE)?,
    };
    let place = fs::metadata(directory).context(UNREADABLE)?;
    let untrusted = |why: String| {
        Found::Untrusted(format!(
            "the file .env of the working directory is not read, because {why}. Run this command \
             as the user who owns the file, or in another directory; to have it read, make root or \
             user {user} the owner of the file and its directory, and remove the write permission \
             of all other users (chmod go-w)"
        ))
    };
    let of_directory = distrust("the directory", directory, &place, user);
    if let Some(why) = of_directory.or_else(|| distrust("it", &path, &link, user)) {
        return Ok(untrusted(why));
    }
    let file = match regular_file::open(&path) {
        // A dangling link.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(_) if fs::metadata(&path).is_ok_and(|it| is_null_device(&it)) => {
            return Ok(Found::Nothing);
        }
        opened => opened.context(UNREADABLE)?,
    };
    let opened = file.metadata().context(UNREADABLE)?;
    if let Some(why) = distrust("it", &path, &opened, user) {
        return Ok(untrusted(why));
    }
    let text = text_file::read_from(file, text_file::MAX_FILE_BYTES).context(UNREADABLE)?;
    Ok(Found::Text(text))
}

/// Whether this is `/dev/null`, with which containers hide a file.
fn is_null_device(file: &Metadata) -> bool {
    let of_null = fs::metadata("/dev/null").map(|it| it.rdev());
    !file.is_file() && file.rdev() != 0 && of_null.is_ok_and(|it| it == file.rdev())
}

/// Parses lines as the Python service did: a value with spaces need not be quoted, and `$` has no
/// special meaning. Each name must occur only once: programs differ in which of two values counts.
fn parse(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    let mut lines: HashMap<&str, usize> = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = trimmed(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || {
            let number = index + 1;
            anyhow!("the file .env, line {number}: expected NAME=value or NAME='value'")
        };
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or_else(wrong)?;
        let name = trimmed(name);
        if !is_name(name) {
            return Err(wrong());
        }
        let number = index + 1;
        if let Some(first) = lines.insert(name, number) {
            return Err(anyhow!(
                "the file .env sets {name} twice, in line {first} and in line {number}; remove one \
                 of the lines"
            ));
        }
        let value = value_of(trimmed(value)).filter(|value| !value.contains('\0'));
        settings.push((name.to_owned(), value.ok_or_else(wrong)?));
    }
    Ok(settings)
}

/// Whether this is a valid name of a variable.
pub(crate) fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_part) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The value without its quotes, or without the comment after it.
fn value_of(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('\'') {
        let (value, after) = rest.split_once('\'')?;
        return is_remark(after).then(|| value.to_owned());
    }
    if let Some(rest) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut rest = rest.chars();
        loop {
            match rest.next()? {
                '"' => return is_remark(rest.as_str()).then_some(value),
                '\\' => match rest.next()? {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
    }
    let value = text.split_once(" #").map_or(text, |(value, _)| value);
    // Straight quotation marks are handled above; these are typographic ones.
    Some(unquoted(value).to_owned())
}

fn is_remark(text: &str) -> bool {
    let text = text.trim_start();
    text.is_empty() || text.starts_with('#')
}

/// A line that the library which sets the environment reads literally.
pub(crate) fn line(name: &str, value: &str) -> String {
    format!("{name}={}\n", quoted(value))
}

/// The value in a form that the library which sets the environment reads literally.
fn quoted(value: &str) -> String {
    let mut quoted = String::from('"');
    for c in value.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '"' | '\\' | '$' => quoted.extend(['\\', c]),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[expect(clippy::disallowed_methods, reason = "this is where settings come in")]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;

    #[test]
    fn values_are_read_with_and_without_quotes_and_dollars_stay() {
        let text = "# remark\n\nA=two words # remark\nexport B='it is $5 # not a remark'\n\
                    C=\"say \\\"hi\\\"\"  # remark\nD=\nE=p$ss#word\n F = x \n\
                    G=\u{201c}/data\u{201d} # remark\n";
        let expected = [
            ("A", "two words"),
            ("B", "it is $5 # not a remark"),
            ("C", "say \"hi\""),
            ("D", ""),
            ("E", "p$ss#word"),
            ("F", "x"),
            ("G", "/data"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn a_name_that_occurs_twice_is_refused_with_both_lines() {
        for (text, second) in [
            ("X=hunter2\nX=other", 2),
            ("X=hunter2\nX=hunter2", 2),
            ("X=hunter2\n# remark\n\nY=1\nexport X='hunter2'", 5),
            ("export X=\"hunter2\" # remark\n X = hunter2", 2),
            ("X=hunter2\r\nX=", 2),
            ("X=\nexport  X=hunter2", 2),
        ] {
            let error = parse(text).unwrap_err();
            let said = format!("{error:#} {error:?}");
            let lines = format!("sets X twice, in line 1 and in line {second};");
            assert!(said.contains(&lines), "{text}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        // A line in a comment, another case and a longer name are other things.
        let text = "X=1\n#X=2\nx=3\nXX=4\n#export X=5";
        assert_eq!(parse(text).unwrap().len(), 3);
    }

    #[test]
    fn what_is_set_is_what_was_written() {
        for value in [
            "",
            "p$ss#w'o\"r\\d",
            "two  words",
            "${HOME}",
            "a\nb",
            "a\rb\u{feff}",
        ] {
            let text = line("X", value);
            let read: Vec<_> = dotenvy::from_read_iter(text.as_bytes()).collect();
            let read = read.into_iter().next().unwrap().unwrap();
            assert_eq!(read, ("X".to_owned(), value.to_owned()));
        }
    }

    #[test]
    fn a_file_that_another_user_may_have_written_is_not_read() {
        let me = rustix::process::geteuid().as_raw();
        let outer = tempfile::tempdir().unwrap();
        let directory = outer.path().join("place");
        fs::create_dir(&directory).unwrap();
        let file = directory.join(".env");
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        assert!(matches!(read(&directory, me).unwrap(), Found::Nothing));
        symlink("nowhere", &file).unwrap();
        assert!(matches!(read(&directory, me).unwrap(), Found::Nothing));
        fs::remove_file(&file).unwrap();
        fs::write(&file, "X=1").unwrap();
        for (directory_mode, mode, refusal) in [
            (0o755, 0o644, None),
            (0o700, 0o600, None),
            (0o1777, 0o644, None),
            (0o755, 0o646, Some("every user can write to it")),
            (0o757, 0o644, Some("every user can write to the directory")),
        ] {
            set(&directory, directory_mode).unwrap();
            set(&file, mode).unwrap();
            match (read(&directory, me).unwrap(), refusal) {
                (Found::Text(text), None) => assert_eq!(text, "X=1"),
                (Found::Untrusted(why), Some(refusal)) => assert!(why.contains(refusal), "{why}"),
                (found, _) => panic!("{directory_mode:o} {mode:o}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_pipe_is_not_opened_and_a_hidden_file_does_not_count() {
        let me = rustix::process::geteuid().as_raw();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".env");
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        assert!(made.unwrap().success());
        let error = read(directory.path(), me).unwrap_err();
        let said = format!("{error:#}");
        assert_eq!(
            said,
            "the file .env cannot be read: it is not a regular file"
        );
        fs::remove_file(&file).unwrap();
        symlink("/dev/null", &file).unwrap();
        let found = read(directory.path(), me).unwrap();
        assert!(matches!(found, Found::Nothing), "{found:?}");
    }

    #[test]
    fn only_the_files_and_links_of_root_and_the_own_user_are_read() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        const USER: u32 = 54_321;
        const ATTACKER: u32 = 54_322;
        let outer = tempfile::tempdir().unwrap();
        let target = outer.path().join("target");
        fs::write(&target, "X=1").unwrap();
        let directory = outer.path().join("place");
        fs::create_dir(&directory).unwrap();
        let file = directory.join(".env");
        let refused = |owner: u32, user: u32| match read(&directory, user).unwrap() {
            Found::Untrusted(why) => why.contains(&format!("belongs to user {owner}")),
            Found::Text(_) => false,
            Found::Nothing => panic!("there is a file"),
        };
        fs::write(&file, "X=1").unwrap();
        for (directory_owner, owner) in [(0, 0), (USER, USER), (0, USER), (USER, 0)] {
            chown(&directory, Some(directory_owner), None).unwrap();
            chown(&file, Some(owner), None).unwrap();
            assert!(!refused(USER, USER));
            // Root does not obey a user.
            assert_eq!(refused(USER, 0), directory_owner == USER || owner == USER);
        }
        chown(&file, Some(0), None).unwrap();
        chown(&directory, Some(ATTACKER), None).unwrap();
        assert!(refused(ATTACKER, 0) && refused(ATTACKER, USER));
        // In a directory like /tmp, where a link may lead to anything.
        chown(&directory, Some(0), None).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o1777)).unwrap();
        fs::remove_file(&file).unwrap();
        symlink(&target, &file).unwrap();
        assert!(!refused(ATTACKER, 0));
        lchown(&file, Some(ATTACKER), None).unwrap();
        assert!(refused(ATTACKER, 0));
        lchown(&file, Some(0), None).unwrap();
        chown(&target, Some(ATTACKER), None).unwrap();
        assert!(refused(ATTACKER, 0));
        // A group is trusted only if it is the owner's own.
        chown(&target, Some(USER), Some(USER)).unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o664)).unwrap();
        assert!(matches!(read(&directory, USER).unwrap(), Found::Text(_)));
        chown(&target, Some(USER), Some(ATTACKER)).unwrap();
        let found = read(&directory, USER).unwrap();
        assert!(
            matches!(&found, Found::Untrusted(why) if why.contains("group 54322 can write to it")),
            "{found:?}"
        );
    }

    #[test]
    fn a_line_that_is_no_setting_is_named() {
        for text in [
            "X=1\nhunter2\n",
            "X=1\n=hunter2\n",
            "X=1\nA B=hunter2",
            "X=1\nY='hunter2",
            "X=1\n2X=hunter2",
            "X=1\nY=hunter2\0",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains("line 2"), "{text}: {error}");
            assert!(
                !format!("{error:#} {error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }
}
