//! Which limit of PostgreSQL leaves no connection.

use sqlx::postgres::PgDatabaseError;

/// A limit on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// `max_connections` of the server.
    Server,
    /// The last connections of the server are reserved for others.
    Reserved,
    /// `CONNECTION LIMIT` of the user.
    Role,
    /// `CONNECTION LIMIT` of the database.
    Database,
}

impl ConnectionLimit {
    /// The limit that an error with the code `too_many_connections` is about. PostgreSQL translates
    /// its messages; the name of the function that raised the error stays the same.
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let said = error.as_database_error();
        let said = said.and_then(|it| it.try_downcast_ref::<PgDatabaseError>());
        Self::of_function(said.and_then(PgDatabaseError::routine).unwrap_or_default())
    }

    /// The functions of miscinit.c and postinit.c; `InitProcess` of proc.c is about the server.
    fn of_function(name: &str) -> Self {
        match name {
            "InitializeSessionUserId" => Self::Role,
            "CheckMyDatabase" => Self::Database,
            "InitPostgres" => Self::Reserved,
            _ => Self::Server,
        }
    }

    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Server => {
                "raise max_connections of the server, or close connections of other programs; \
                 allow 10 for each License Server and 11 for each License Client"
            }
            Self::Reserved => {
                "the remaining connections are reserved for superusers: raise max_connections of \
                 the server, or close connections of other programs; allow 10 for each License \
                 Server and 11 for each License Client"
            }
            Self::Role => {
                "raise the limit of the user in DATABASE_URL (ALTER ROLE name CONNECTION LIMIT \
                 number), or close its other connections; allow 10 for each License Server and 11 \
                 for each License Client"
            }
            Self::Database => {
                "raise the limit of the database (ALTER DATABASE name CONNECTION LIMIT number), \
                 or close its other connections; allow 10 for each License Server and 11 for each \
                 License Client"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_the_setting_that_is_exhausted() {
        for (function, setting) in [
            ("InitializeSessionUserId", "ALTER ROLE"),
            ("CheckMyDatabase", "ALTER DATABASE"),
            ("InitPostgres", "reserved for superusers"),
            ("InitProcess", "max_connections"),
            ("", "max_connections"),
        ] {
            let advice = ConnectionLimit::of_function(function).advice();
            assert!(advice.contains(setting), "{function}: {advice}");
            let is_of_server = advice.contains("max_connections");
            assert_eq!(is_of_server, !setting.starts_with("ALTER"), "{advice}");
        }
    }
}
