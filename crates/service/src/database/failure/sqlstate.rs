//! Classifies PostgreSQL's codes (PostgreSQL documentation, appendix A).

use sqlx::postgres::PgDatabaseError;

use super::super::sequences;
use super::{ConnectionLimit, Failure, SEQUENCE_END};

/// PostgreSQL's message about a statement that was prepared before its table was changed; the code
/// is also used for many other errors (plancache.c).
pub(super) const STALE_PLAN: &str = "cached plan must not change result type";
/// PostgreSQL's message about a policy, which has the code of a missing permission (rls.c,
/// execMain.c).
const ROW_POLICY: &str = "row-level security";

/// What an error with this code says.
pub(super) fn failure(error: &sqlx::Error, code: &str) -> Failure {
    match code {
        // read_only_sql_transaction
        "25006" => Failure::Connection(true),
        // admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped,
        // idle_in_transaction_session_timeout
        "57P01" | "57P02" | "57P03" | "57P04" | "25P03" => Failure::Connection(false),
        // protocol_violation: the code of almost all errors of pgBouncer itself
        "08P01" => pooler_failure(&error.to_string()),
        code if code.starts_with("08") => Failure::Connection(false),
        // lock_not_available, query_canceled by statement_timeout
        "55P03" | "57014" => Failure::Busy,
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Failure::Conflict,
        // invalid_sql_statement_name
        "26000" => Failure::Stale,
        // feature_not_supported
        "0A000" if error.to_string().contains(STALE_PLAN) => Failure::Stale,
        // undefined_table
        "42P01" => Failure::NoTable,
        // invalid_column_reference (of ON CONFLICT, without such an index), undefined_column,
        // datatype_mismatch, undefined_function (also: operator), not_null_violation
        "42P10" | "42703" | "42804" | "42883" | "23502" | SEQUENCE_END => Failure::Schema,
        // insufficient_privilege
        "42501" if error.to_string().contains(ROW_POLICY) => Failure::RowPolicy,
        "42501" => Failure::Rights,
        // invalid_catalog_name
        "3D000" => Failure::NoDatabase,
        code if code.starts_with("28") => Failure::Login,
        // disk_full: of the memory that is a file system, too
        "53100" if is_about_shared_memory(error) => Failure::SharedMemory,
        "53100" => Failure::Full,
        // too_many_connections
        "53300" => Failure::TooManyConnections(ConnectionLimit::of(error)),
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => Failure::Damaged,
        _ if sequences::duplicate_id(error).is_some() => Failure::Sequence,
        // Syntax, names and privileges; values; constraints; conflicts with others.
        code if ["42", "22", "23", "40"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Failure::Refused
        }
        // system_error, io_error, undefined_file, duplicate_file
        code if code.starts_with("58") => Failure::ServerFiles,
        _ => Failure::Unknown,
    }
}

/// What an error of pgBouncer says (client.c, server.c, and the messages of PostgreSQL that it passes
/// on).
fn pooler_failure(said: &str) -> Failure {
    const LOGIN: [&str; 4] = [
        "password authentication failed",
        "SASL authentication failed",
        "no such user",
        "login rejected",
    ];
    match said {
        said if LOGIN.iter().any(|it| said.contains(it)) => Failure::Login,
        said if said.contains("no such database") => Failure::NoDatabase,
        said if said.contains("bouncer config error") => Failure::Unknown,
        _ => Failure::Connection(false),
    }
}

/// Whether an error is about the shared memory of parallel queries. Its message may be in any
/// language, so the file of PostgreSQL's source that raised it counts as well.
fn is_about_shared_memory(error: &sqlx::Error) -> bool {
    let Some(said) = error.as_database_error() else {
        return false;
    };
    let sent = said.try_downcast_ref::<PgDatabaseError>();
    let is_from = |file: &str| file.ends_with("dsm_impl.c");
    sent.and_then(PgDatabaseError::file).is_some_and(is_from)
        || said.message().contains("shared memory segment")
}
