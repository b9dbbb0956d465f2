//! Where the database is.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A database that the service can use.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The SQLite file in a state directory.
    #[must_use]
    pub fn in_state_dir(state_dir: &Path) -> Self {
        let file = state_dir.join("license-server.sqlite");
        Self(format!("sqlite:{}", file.display()))
    }

    /// The URL as the database library takes it. It may hold a password:
    /// never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The file of an SQLite database.
    #[must_use]
    pub fn sqlite_file(&self) -> Option<&Path> {
        self.0.strip_prefix("sqlite:").map(Path::new)
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let file = text.strip_prefix("sqlite:");
        if file.is_some_and(|file| !file.is_empty()) {
            return Ok(Self(text.to_owned()));
        }
        match text.split_once("://") {
            Some(("postgresql" | "postgres", rest)) => Ok(Self(format!("postgresql://{rest}"))),
            _ => {
                Err("accepted are postgresql://user:password@host:5432/name and sqlite:FILE".into())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without user and password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.rsplit_once('@') {
            Some((_, host)) if self.sqlite_file().is_none() => write!(f, "postgresql://…@{host}"),
            _ => f.write_str(&self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_password_is_never_shown() {
        let url: DatabaseUrl = "postgres://u:hunter2@h/d".parse().unwrap();
        assert_eq!(url.to_string(), "postgresql://…@h/d");
        assert_eq!(url.expose(), "postgresql://u:hunter2@h/d");
        assert!("mysql://h/d".parse::<DatabaseUrl>().is_err());
    }
}
