//! Does a path lead through a symbolic link to something that does not exist?
//!
//! A volume that is not mounted leaves such a link behind. For `open` and `exists` the path is
//! missing, but nothing can be created there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::presentable_url::presentable_path;

/// A symbolic link whose target does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}; {}", self.what(), Self::ADVICE)]
pub struct DanglingLink {
    link: PathBuf,
    target: PathBuf,
}

impl DanglingLink {
    /// What to do about it.
    pub const ADVICE: &str = "mount its file system or correct the link";

    /// The link at `path`, or at one of the directories above it. Of several links that lead to each
    /// other, the last one. `None` if the path exists, or is missing for another reason.
    #[must_use]
    pub fn on(path: &Path) -> Option<Self> {
        let is_missing =
            |path: &Path| fs::metadata(path).is_err_and(|it| it.kind() == ErrorKind::NotFound);
        for link in path.ancestors().take_while(|it| is_missing(it)) {
            // Only a link can be read as one.
            if let Ok(target) = fs::read_link(link) {
                let directory = link.parent().unwrap_or(link);
                let further = Self::on(&directory.join(&target));
                let link = link.to_owned();
                return Some(further.unwrap_or(Self { link, target }));
            }
        }
        None
    }

    /// What is wrong, without [`Self::ADVICE`].
    #[must_use]
    pub fn what(&self) -> String {
        let (link, target) = (presentable_path(&self.link), presentable_path(&self.target));
        format!("'{link}' is a link to '{target}', which does not exist")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_link_to_something_missing_is_found_and_the_last_of_several_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for path in [at("missing"), at("missing/below"), at(""), PathBuf::new()] {
            assert_eq!(DanglingLink::on(&path), None, "{}", path.display());
        }
        symlink(".", at("good")).unwrap();
        symlink("round", at("round")).unwrap();
        for path in [at("good"), at("good/missing"), at("round")] {
            assert_eq!(DanglingLink::on(&path), None, "{}", path.display());
        }
        symlink("volume/state", at("link")).unwrap();
        symlink("link", at("first")).unwrap();
        let what = format!(
            "'{}' is a link to 'volume/state', which does not exist",
            at("link").display()
        );
        for path in [at("link"), at("first"), at("first/below/it")] {
            assert_eq!(DanglingLink::on(&path).unwrap().what(), what);
        }
        fs::create_dir_all(at("volume/state")).unwrap();
        assert_eq!(DanglingLink::on(&at("first/below")), None);
    }
}
