//! Errors about what belongs to other database users, and about missing permissions.

use std::path::Path;

use license_core::foreign_text;
use sea_orm::DbErr;
use sqlx::postgres::PgDatabaseError;

use super::super::postgres_options::postgres_options;
use super::super::quoted::quoted;
use crate::database_url::DatabaseUrl;
use crate::presentable_url::presentable_path;

const SCHEMAS_OF_OTHERS: &str = "other database users own the schema of this program's tables, and \
    could replace them:";
const OBSTRUCTED: &str = "the tables cannot be created, because their names are taken:";
const OF_OTHERS: &str = "other database users own tables of this program, and could change what it \
    does:";
const FILE_OF_OTHERS: &str = "other users can write to the SQLite database";
const NO_ACCESS: &str = "the user in DATABASE_URL has no access to its tables:";

/// Whether this is an error of this module. Its text says what to do.
pub(super) fn is_explained(text: &str) -> bool {
    [
        FILE_OF_OTHERS,
        NO_ACCESS,
        OBSTRUCTED,
        OF_OTHERS,
        SCHEMAS_OF_OTHERS,
    ]
    .iter()
    .any(|it| text.starts_with(it))
}

/// Why the database user cannot use or create its tables, with the statement that helps.
pub(in crate::database) fn no_access(why: &str) -> DbErr {
    DbErr::Custom(format!("{NO_ACCESS} {why}"))
}

/// Why the database user may not connect to the database, if that is the error, with the statement
/// that helps.
pub(in crate::database) fn no_connect(error: &sqlx::Error, url: &DatabaseUrl) -> Option<DbErr> {
    let said = error.as_database_error()?;
    let said = said.try_downcast_ref::<PgDatabaseError>()?;
    // PostgreSQL translates its messages, and not the names of its functions (postinit.c).
    if said.code() != "42501" || said.routine() != Some("CheckMyDatabase") {
        return None;
    }
    let options = postgres_options(url).ok()?;
    let user = quoted(options.get_username());
    let database = quoted(options.get_database().unwrap_or(options.get_username()));
    let why = format!("the user may not connect: GRANT CONNECT ON DATABASE {database} TO {user}");
    Some(no_access(&foreign_text::message(&why)))
}

/// Other users of the machine can write to a file of the SQLite database.
pub(in crate::database) fn file_of_others(path: &Path) -> DbErr {
    let path = presentable_path(path);
    DbErr::Custom(format!(
        "{FILE_OF_OTHERS} '{path}': make it writable only by the user of the service (chmod go-w), \
         or share a PostgreSQL database instead"
    ))
}

/// Other database users own these tables.
pub(in crate::database) fn of_others(tables: &str) -> DbErr {
    DbErr::Custom(format!(
        "{OF_OTHERS} {tables}. If they are not planted, make the user in DATABASE_URL or the owner \
         of the database their owner (ALTER TABLE ... OWNER TO), or grant the user their owner's \
         role (GRANT owner TO user); otherwise drop them"
    ))
}

/// Other database users own these schemas, in which tables are or would be created.
pub(in crate::database) fn schemas_of_others(schemas: &str) -> DbErr {
    DbErr::Custom(format!(
        "{SCHEMAS_OF_OTHERS} {schemas}. Make the user in DATABASE_URL or the owner of the database \
         the owner of the schema (ALTER SCHEMA ... OWNER TO), grant the user its owner's role \
         (GRANT owner TO user), or use another schema (search_path)"
    ))
}

/// Objects with the names of missing tables or their indexes.
pub(in crate::database) fn obstructed(objects: &str) -> DbErr {
    DbErr::Custom(format!(
        "{OBSTRUCTED} {objects}. Drop or rename objects that are not needed, or use another schema \
         (search_path)"
    ))
}
