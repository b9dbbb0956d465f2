use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown, symlink};

use super::*;
use crate::clock::{Clock as _, SystemClock};

#[test]
fn only_temporary_files_of_ended_processes_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let now = SystemClock.now();
    let in_use = temporary_file(directory).unwrap();
    let mode = in_use.as_file().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let make = |name: &str, age: TimeDelta| {
        let file = File::create(directory.join(name)).unwrap();
        file.set_modified((now - age).into()).unwrap();
    };
    make(".foxsight-tmp-aB3xY9", TimeDelta::zero());
    make(".tmpaB3xY9", TimeDelta::hours(1));
    make(".tmpfuture", TimeDelta::hours(1));
    make(".tmpFuTuR3", -TimeDelta::days(1));
    let kept = [
        ".tmp123456",
        ".tmpabcdefg",
        ".tmpabc",
        "x.tmpaB3xY9",
        "local-copy.json",
        "time.key",
        ".foxsight-tmp",
        ".tmpab-d_f",
    ];
    for name in kept {
        let age = if name == ".tmp123456" { 0 } else { 100 };
        make(name, TimeDelta::hours(age));
    }
    fs::create_dir(directory.join(".tmpaaaaaa")).unwrap();
    remove_left_over(directory, now);
    let names = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = names
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let in_use = in_use.path().file_name().unwrap().to_str().unwrap();
    let mut expected = [&kept[..], &[in_use, ".tmpaaaaaa"]].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
    remove_left_over(&directory.join("is not there"), now);
}

/// Only root can be two users; the tests of both programs start as root, too.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: {test} needs root, who can be two users");
    }
    is_root
}

/// A user that no machine has.
const SERVICE: u32 = 54_321;

/// A directory of the service, and one of root's beside it.
fn state_and_secrets() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let (state, secrets) = (outer.path().join("state"), outer.path().join("secrets"));
    for directory in [&state, &secrets] {
        fs::DirBuilder::new().mode(0o700).create(directory).unwrap();
    }
    chown(&state, Some(SERVICE), Some(SERVICE)).unwrap();
    (outer, state, secrets)
}

#[test]
fn what_the_owner_puts_in_place_of_a_new_directory_is_not_given_away() {
    if !is_root("what_the_owner_puts_in_place_of_a_new_directory_is_not_given_away") {
        return;
    }
    let (_outer, state, secrets) = state_and_secrets();
    fs::create_dir(secrets.join("empty")).unwrap();
    let file = secrets.join("file");
    fs::write(&file, "secret").unwrap();
    let new = state.join("new");
    let cases: [(&str, &dyn Fn()); 6] = [
        ("a link to a directory", &|| {
            symlink(&secrets, &new).unwrap();
        }),
        ("a link to an empty one", &|| {
            symlink(secrets.join("empty"), &new).unwrap();
        }),
        ("a link to a file", &|| symlink(&file, &new).unwrap()),
        ("a file of root's", &|| fs::hard_link(&file, &new).unwrap()),
        ("a directory of root's with a file", &|| {
            fs::create_dir(&new).unwrap();
            fs::write(new.join("file"), "").unwrap();
        }),
        ("a directory of another user", &|| {
            fs::create_dir(&new).unwrap();
            chown(&new, Some(SERVICE + 1), None).unwrap();
        }),
    ];
    for (case, put) in cases {
        put();
        let place = open(&state, PLACE, Mode::empty()).unwrap();
        let error = give_directory(&place, OsStr::new("new"), &state).unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::PermissionDenied,
            "{case}: {error}"
        );
        assert!(
            error.to_string().starts_with("another user replaced"),
            "{case}"
        );
        for path in [&secrets, &secrets.join("empty"), &file] {
            assert_eq!(
                fs::metadata(path).unwrap().uid(),
                0,
                "{case}: {}",
                path.display()
            );
        }
        if let Ok(left) = fs::symlink_metadata(&new) {
            assert_ne!(left.uid(), SERVICE, "{case}");
            match left.is_dir() {
                true => fs::remove_dir_all(&new).unwrap(),
                false => fs::remove_file(&new).unwrap(),
            }
        }
    }
    // A link that leads nowhere yet is not followed either.
    symlink(secrets.join("later"), &new).unwrap();
    let error = make_directory(&new.join("keys")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(!secrets.join("later").exists());
}

#[test]
fn only_a_new_file_in_the_directory_is_given_to_its_owner() {
    if !is_root("only_a_new_file_in_the_directory_is_given_to_its_owner") {
        return;
    }
    let (_outer, state, secrets) = state_and_secrets();
    let secret = secrets.join("file");
    let new = state.join("new");
    let cases: [(&str, &dyn Fn()); 4] = [
        ("a link", &|| symlink(&secret, &new).unwrap()),
        ("another name of it", &|| {
            fs::hard_link(&secret, &new).unwrap();
        }),
        ("another file", &|| fs::write(&new, "").unwrap()),
        ("nothing", &|| {}),
    ];
    for (case, put) in cases {
        let file = File::create(&secret).unwrap();
        put();
        let error = give_to_owner(&file, &new).unwrap_err();
        assert!(
            error.to_string().starts_with("another user replaced"),
            "{case}"
        );
        assert_eq!(file.metadata().unwrap().uid(), 0, "{case}");
        fs::remove_file(&new).ok();
        fs::remove_file(&secret).unwrap();
    }
    // The whole directory, after the file was made in another one.
    let file = File::create(secrets.join("new")).unwrap();
    assert!(give_to_owner(&file, &new).is_err());
    assert_eq!(file.metadata().unwrap().uid(), 0);
    // A directory and a file of another user.
    fs::create_dir(&new).unwrap();
    assert!(give_to_owner(&File::open(&new).unwrap(), &new).is_err());
    assert_eq!(fs::metadata(&new).unwrap().uid(), 0);
    let other = state.join("other");
    let file = File::create(&other).unwrap();
    chown(&other, Some(SERVICE + 1), None).unwrap();
    assert!(give_to_owner(&file, &other).is_err());
    assert_eq!(file.metadata().unwrap().uid(), SERVICE + 1);
    // The same without an exchange.
    chown(&other, Some(0), None).unwrap();
    give_to_owner(&file, &other).unwrap();
    assert_eq!(file.metadata().unwrap().uid(), SERVICE);
}

#[test]
fn new_files_and_directories_get_the_owner_of_the_directory() {
    if !is_root("new_files_and_directories_get_the_owner_of_the_directory") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let owner = |path: &Path| {
        (
            fs::metadata(path).unwrap().uid(),
            fs::metadata(path).unwrap().gid(),
        )
    };
    // A directory of root's own says nothing about the service.
    assert_eq!(
        owner(temporary_file(directory.path()).unwrap().path()),
        (0, 0)
    );
    chown(directory.path(), Some(SERVICE), Some(SERVICE + 1)).unwrap();
    let made = directory.path().join("state/keys");
    make_directory(&made).unwrap();
    assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o700);
    let file = temporary_file(&made).unwrap();
    let file = file
        .persist(made.join("file"))
        .map(|_| made.join("file"))
        .unwrap();
    for path in [&file, &made, &directory.path().join("state")] {
        assert_eq!(owner(path), (SERVICE, SERVICE + 1), "{}", path.display());
    }
    // One that is there already is left alone.
    chown(&made, Some(0), Some(0)).unwrap();
    make_directory(&made).unwrap();
    assert_eq!(owner(&made), (0, 0));
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made/on demand");
    check_writable("STATE_DIR", &made).unwrap();
    for made in [&*made, made.parent().unwrap()] {
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o700);
    }
    let file = directory.path().join("file");
    File::create(&file).unwrap();
    let error = check_writable("STATE_DIR", &file.join("state")).unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with(&format!(
        "'{}/state' cannot be created or written",
        file.display()
    )));
    assert!(
        error.ends_with("choose another path with STATE_DIR"),
        "{error}"
    );
}

#[test]
fn only_a_missing_permission_is_called_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = check_writable("STATE_DIR", &file.join("below")).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("cannot be created or written: Not a directory"),
        "{said}"
    );
    assert!(
        said.ends_with("or choose another path with STATE_DIR"),
        "{said}"
    );
    assert!(!said.contains("write permission"), "{said}");
    let denied = io::Error::from(Errno::ACCESS);
    let said = NotWritable::new("STATE_DIR", &file, &denied).to_string();
    assert!(said.contains("Give this user write permission"), "{said}");
}

#[test]
fn the_advice_fits_the_reason() {
    use std::io::ErrorKind;
    for (kind, advice) in [
        (
            ErrorKind::PermissionDenied,
            "Give this user write permission",
        ),
        (ErrorKind::StorageFull, "df -i"),
        (ErrorKind::QuotaExceeded, "raise the quota"),
        (
            ErrorKind::ReadOnlyFilesystem,
            "Mount it so that it can be written",
        ),
        (ErrorKind::NotADirectory, "Correct this"),
    ] {
        let error = NotWritable::new("STATE_DIR", Path::new("/"), &kind.into());
        let said = error.to_string();
        assert!(said.contains(advice), "{kind:?}: {said}");
        assert_eq!(
            said.contains("write permission"),
            kind == ErrorKind::PermissionDenied
        );
    }
}
