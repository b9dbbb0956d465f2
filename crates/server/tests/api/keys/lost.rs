//! Key files that are lost, and directories of which a power failure may lose some: no published
//! key is ever lost by this program, and there is always a way out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::keyring::Keyring;
use license_core::rotation::walk;
use license_server::signing::{SigningError, SigningKeys};
use license_service::clock::{Clock as _, SystemClock};

use super::{key_file, sets_after, states};

/// The real program with a state directory whose keys are on a file system that cannot synchronize
/// directories.
struct Unsynchronized {
    directory: tempfile::TempDir,
    error: &'static str,
}

impl Unsynchronized {
    fn new(error: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("keys")).unwrap();
        Self { directory, error }
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let state = self.directory.path();
        let ran = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync"])
            .args(["-e", &format!("inject=fsync:error={}", self.error), "-P"])
            .arg(self.keys())
            .arg(env!("CARGO_BIN_EXE_license-server"))
            .args(arguments)
            .env("STATE_DIR", state)
            .current_dir(state)
            .output();
        ran.expect("strace is installed by 'cargo xtask test'")
    }

    fn ran(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }
}

fn key_files(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory).unwrap().flatten();
    let is_key = |path: PathBuf| path.extension().is_some_and(|it| it == "jwk");
    files.filter(|file| is_key(file.path())).count()
}

#[test]
fn a_key_directory_that_cannot_be_synchronized_never_undoes_a_key_change() {
    // The first error is that of file systems without this function; the second is a failure.
    for (error, is_warned) in [("EINVAL", false), ("EIO", true)] {
        let program = Unsynchronized::new(error);
        let keys = program.keys();
        let said = program.ran(&["init"]);
        assert_eq!(said.contains("power failure"), is_warned, "{said}");
        assert_eq!(key_files(&keys), 1);
        let first = SigningKeys::load(&keys).unwrap().list(SystemClock.now())[0]
            .kid
            .clone();
        program.ran(&["keys", "rotate", "--at-once"]);
        assert_eq!(key_files(&keys), 2, "each published key has its file");
        program.ran(&["keys", "revoke", &first]);
        let now = SystemClock.now();
        let changed = SigningKeys::load(&keys).unwrap();
        assert_eq!(changed.version(), 3);
        assert_eq!(states(&changed, now), ["signs", "revoked"]);
        let audit = program.run(&["audit"]);
        let audit = String::from_utf8(audit.stdout).unwrap();
        assert!(!audit.contains("unchanged"), "{audit}");
    }
}

#[test]
fn if_the_key_that_signs_is_lost_the_one_before_it_signs_the_next_set() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let created: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    SigningKeys::create(directory, created).unwrap();
    let root = Keyring::from_jwk_set(SigningKeys::load(directory).unwrap().public()).unwrap();
    let day = TimeDelta::days(1);
    let at_once = TimeDelta::zero();
    let rotate = |now, overlap| SigningKeys::rotate(directory, "test", now, overlap);
    let (lost, _) = rotate(created + day, at_once).unwrap();
    std::fs::remove_file(directory.join(format!("{lost}.jwk"))).unwrap();

    let now = created + day + day;
    let none = SigningKeys::load(directory).unwrap().check(now);
    let none = none.unwrap_err();
    assert!(none.to_string().contains("rotate --at-once"), "{none}");
    // A key that signs later does not help, and the message says which one does.
    let error = rotate(now, TimeDelta::days(7)).unwrap_err();
    assert!(matches!(error, SigningError::NoneSignsNow), "{error}");
    let (next, from) = rotate(now, at_once).unwrap();
    assert_eq!(from, now);
    let keys = SigningKeys::load(directory).unwrap();
    assert_eq!(keys.signer_id(now).unwrap(), next);
    // Sites accept the set, and the lost key can be revoked.
    let sets = sets_after(&keys, 0);
    let walked = walk(root.clone(), &sets);
    assert_eq!((walked.keyring.version(), walked.error), (3, None));
    assert!(walked.keyring.get(&next).unwrap().covers(now));
    SigningKeys::revoke(directory, "test", &lost, now).unwrap();
    let sets = sets_after(&SigningKeys::load(directory).unwrap(), 0);
    let walked = walk(root, &sets);
    assert_eq!((walked.keyring.version(), walked.error), (4, None));
}

#[test]
fn sets_without_keys_name_the_way_out_and_a_key_without_a_set_needs_none() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    SigningKeys::create(directory, now).unwrap();
    let key = key_file(directory);
    let aside = directory.join("aside");
    std::fs::rename(&key, &aside).unwrap();
    let is_named = |error: SigningError| {
        assert!(matches!(error, SigningError::KeysMissing(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("from a backup") && text.contains("move the directory away"));
    };
    is_named(SigningKeys::load(directory).unwrap_err());
    is_named(SigningKeys::create(directory, now).unwrap_err());
    is_named(SigningKeys::rotate(directory, "test", now, TimeDelta::zero()).unwrap_err());
    assert_eq!(key_files(directory), 0);
    std::fs::rename(&aside, &key).unwrap();
    SigningKeys::load(directory).unwrap();
    // A process was ended between the two files.
    std::fs::remove_file(directory.join("set-000001.json")).unwrap();
    let error = SigningKeys::load(directory).unwrap_err();
    assert!(matches!(error, SigningError::None(_)), "{error}");
    SigningKeys::create(directory, now).unwrap();
    SigningKeys::load(directory).unwrap().check(now).unwrap();
}
