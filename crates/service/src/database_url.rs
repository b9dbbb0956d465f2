//! Where the database is.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use url::Url;

/// A database that the service can use.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// An SQLite file.
    #[must_use]
    pub fn of_file(file: &Path) -> Self {
        Self(format!("sqlite:{}", file.display()))
    }

    /// The URL in the spelling of the database library. It may hold a
    /// password: never log it.
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
        if let Some(file) = text.strip_prefix("sqlite:") {
            // SQLAlchemy writes sqlite:///relative and sqlite:////absolute.
            let file = file.strip_prefix("///").unwrap_or(file);
            if file.is_empty() {
                return Err("an SQLite URL names a file: sqlite:/path/to/file".into());
            }
            return Ok(Self(format!("sqlite:{file}")));
        }
        // SQLAlchemy names its driver after a plus sign.
        let postgres = text
            .split_once("://")
            .filter(|(scheme, _)| {
                let scheme = scheme.split('+').next().unwrap_or_default();
                scheme == "postgresql" || scheme == "postgres"
            })
            .map(|(_, rest)| format!("postgresql://{rest}"))
            .ok_or("accepted are postgresql://user:password@host:5432/name and sqlite:FILE")?;
        match Url::parse(&postgres) {
            Ok(_) => Ok(Self(postgres)),
            // With a user but no host, the host is in the query, or the socket.
            Err(url::ParseError::EmptyHost) => Ok(Self(postgres.replacen("@/", "@localhost/", 1))),
            Err(error) => Err(format!(
                "{error}; special characters in the password are written %40 for @, %2F for /"
            )),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(&self.0) {
            Ok(mut url) if self.sqlite_file().is_none() => {
                if url.password().is_some() {
                    // Only URLs without a host refuse a password.
                    let _ = url.set_password(Some("****"));
                }
                if url.query().is_some_and(|query| query.contains("password")) {
                    url.set_query(Some("****"));
                }
                f.write_str(url.as_str())
            }
            _ => f.write_str(&self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_urls_of_sqlalchemy_are_understood() {
        let parsed = |text: &str| text.parse::<DatabaseUrl>().map(|url| url.0);
        let expected = Ok("postgresql://u:p@h:5432/d".to_owned());
        assert_eq!(parsed("postgresql://u:p@h:5432/d"), expected);
        assert_eq!(parsed("postgres://u:p@h:5432/d"), expected);
        assert_eq!(parsed("postgresql+psycopg2://u:p@h:5432/d"), expected);
        assert_eq!(
            parsed("postgresql://u:p@/d?host=/run/postgresql"),
            Ok("postgresql://u:p@localhost/d?host=/run/postgresql".to_owned())
        );
        assert_eq!(parsed("sqlite:////var/db"), Ok("sqlite:/var/db".to_owned()));
        assert_eq!(parsed("sqlite:///db"), Ok("sqlite:db".to_owned()));
        assert!(parsed("mysql://h/d").is_err());
        assert!(parsed("sqlite:").is_err());
    }

    #[test]
    fn a_database_password_is_never_shown() {
        let url: DatabaseUrl = "postgresql://u:hunter2@h/d".parse().unwrap();
        assert_eq!(format!("{url} {url:?}").matches("hunter2").count(), 0);
        let url: DatabaseUrl = "postgresql://u@h/d?password=hunter2".parse().unwrap();
        assert_eq!(format!("{url} {url:?}").matches("hunter2").count(), 0);
    }
}
