//! Tests of what errors mean.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::path::Path;

use sqlx::error::{DatabaseError, ErrorKind};

use super::sqlstate::STALE_PLAN;
use super::*;

/// An error as PostgreSQL sends it.
#[derive(Debug)]
struct Sent {
    code: &'static str,
    message: &'static str,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl Error for Sent {}

impl DatabaseError for Sent {
    fn message(&self) -> &str {
        self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

pub(in crate::database) fn sent(code: &'static str, message: &'static str) -> DbErr {
    let sent = sqlx::Error::Database(Box::new(Sent { code, message }));
    DbErr::Query(RuntimeErr::SqlxError(sent.into()))
}

#[test]
fn waiting_for_others_is_no_outage_and_only_what_was_not_done_is_done_again() {
    let stale = "cached plan must not change result type";
    for (code, message, failure, is_repeated) in [
        ("55P03", "", Failure::Busy, false),
        ("57014", "", Failure::Busy, false),
        ("40001", "", Failure::Conflict, true),
        ("40P01", "", Failure::Conflict, true),
        // transaction_integrity_constraint_violation, statement_completion_unknown
        ("40002", "", Failure::Refused, false),
        ("40003", "", Failure::Refused, false),
        ("0A000", stale, Failure::Stale, true),
        ("0A000", "not implemented", Failure::Unknown, false),
        ("26000", "", Failure::Stale, true),
        ("23505", "", Failure::Refused, false),
        ("22P05", "", Failure::Refused, false),
        ("53100", "", Failure::Full, false),
        ("57P01", "", Failure::Connection(false), false),
        ("25006", "", Failure::Connection(true), false),
    ] {
        let error = sent(code, message);
        assert_eq!(Failure::of(&error), failure, "{code}");
        assert_eq!(may_be_repeated(&error), is_repeated, "{code}");
    }
    assert_eq!(Failure::of(&busy()), Failure::Busy);
    let timed_out = timed_out(Duration::from_secs(7));
    assert_eq!(Failure::of(&timed_out), Failure::Connection(false));
}

#[test]
fn a_statement_that_is_missing_again_says_that_a_pooler_is_in_between() {
    let error = still_stale(sent("26000", ""));
    assert!(words(&error).starts_with(POOLER));
    assert!(words(&error).contains("set pool_mode = session"));
    assert_eq!(Failure::of(&error), Failure::Pooler);
    let error = still_stale(sent("0A000", STALE_PLAN));
    assert_eq!(Failure::of(&error), Failure::Stale);
}

#[test]
fn a_database_that_is_starting_is_waited_for_and_one_that_refuses_us_is_not() {
    let is_temporary = |code| Failure::of(&sent(code, "")).is_temporary();
    for code in ["57P03", "53300", "08006"] {
        assert!(is_temporary(code), "{code}");
    }
    // invalid_password, invalid_catalog_name
    for code in ["28P01", "3D000", "42501"] {
        assert!(!is_temporary(code), "{code}");
    }
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    assert!(Failure::of_library(&sqlx::Error::Io(refused)).is_temporary());
}

#[test]
fn a_refusal_of_a_pooler_is_told_from_a_lost_connection() {
    for (said, failure) in [
        ("password authentication failed", Failure::Login),
        ("SASL authentication failed", Failure::Login),
        ("no such user: lic", Failure::Login),
        (
            "server login has been failing, cached error: password authentication failed for user",
            Failure::Login,
        ),
        ("no such database: lic", Failure::NoDatabase),
        ("bouncer config error", Failure::Unknown),
        (
            "server login has been failing, cached error: connect failed (server_login_retry)",
            Failure::Connection(false),
        ),
        ("pgbouncer is shutting down", Failure::Connection(false)),
    ] {
        assert_eq!(Failure::of(&sent("08P01", said)), failure, "{said}");
    }
}

#[test]
fn a_full_shared_memory_is_no_full_disk() {
    let said = "could not resize shared memory segment \"/PostgreSQL.1\" to 8388608 bytes: \
                No space left on device";
    let trouble = Trouble::of(&sent("53100", said));
    assert_eq!(trouble.failure, Failure::SharedMemory);
    assert!(
        trouble.advice().unwrap().contains("raise shm_size"),
        "{trouble}"
    );
    assert!(!Failure::SharedMemory.is_remembered());
}

#[test]
fn every_kind_of_outage_says_what_to_do() {
    for (code, failure, advice) in [
        (
            "42P01",
            Failure::NoTable,
            "restore the database, or restart",
        ),
        ("42501", Failure::Rights, "USAGE ON SCHEMA"),
        // program_limit_exceeded (also: no more transaction ids), raise_exception
        ("54000", Failure::Unknown, "see PostgreSQL's log"),
        ("P0001", Failure::Unknown, "see PostgreSQL's log"),
        (
            "42P10",
            Failure::Schema,
            "repair the object that the message names",
        ),
        ("42703", Failure::Schema, "with its indexes, defaults"),
        ("42804", Failure::Schema, "with its indexes, defaults"),
        ("42883", Failure::Schema, "with its indexes, defaults"),
        ("23502", Failure::Schema, "with its indexes, defaults"),
        ("2200H", Failure::Schema, "with its indexes, defaults"),
        ("3D000", Failure::NoDatabase, "check the database name"),
        ("28P01", Failure::Login, "check the user and the password"),
        ("28000", Failure::Login, "pg_hba.conf"),
        ("53100", Failure::Full, "free space"),
        (
            "53300",
            Failure::TooManyConnections(ConnectionLimit::Server),
            "raise max_connections",
        ),
        (
            "XX001",
            Failure::Damaged,
            "restore the database from a backup",
        ),
        ("25006", Failure::Connection(true), "connect to the primary"),
        ("57P01", Failure::Connection(false), "is running"),
        ("58000", Failure::ServerFiles, "see PostgreSQL's log"),
        ("58030", Failure::ServerFiles, "restore the database"),
        ("58P01", Failure::ServerFiles, "if a file is lost"),
    ] {
        let trouble = Trouble::of(&sent(code, "said"));
        assert_eq!(trouble.failure, failure, "{code}");
        assert!(trouble.advice().unwrap().contains(advice), "{trouble}");
        let start = "the database returned an error: said; ";
        assert!(trouble.to_string().starts_with(start), "{trouble}");
    }
    // With one of these, 'prefer' tries only one of the two ways.
    for said in [
        "no pg_hba.conf entry for host \"::1\", user \"u\", database \"d\", SSL encryption",
        "kein pg_hba.conf-Eintrag für Host »::1«, Benutzer »u«, Datenbank »d«, keine Verschlüsselung",
        "pg_hba.conf rejects connection for host \"::1\", user \"u\", database \"d\", no encryption",
    ] {
        let trouble = Trouble::of(&sent("28000", said));
        assert_eq!(trouble.failure, Failure::Login);
        let said = trouble.to_string();
        assert!(
            said.contains("sslmode=disable") && said.contains("sslmode=require"),
            "{said}"
        );
    }
    let end = "nextval: reached maximum value of sequence \"notes_id_seq\" (9)";
    let trouble = Trouble::of(&in_words(sent("2200H", end)));
    assert_eq!(trouble.failure, Failure::Schema);
    let said = trouble.to_string();
    assert!(said.contains(end) && said.contains("setval"), "{said}");
    assert!(Failure::Unknown.is_outage() && !Failure::Unknown.is_temporary());
    assert_eq!(Trouble::of(&sent("23505", "")).advice(), None);
    let policy = "new row violates row-level security policy for table \"system_config\"";
    let trouble = Trouble::of(&sent("42501", policy));
    assert_eq!(trouble.failure, Failure::RowPolicy);
    assert!(
        trouble.advice().unwrap().contains("add a policy"),
        "{trouble}"
    );
    // Statements with mistakes are not missing tables.
    for code in ["42703", "42601", "3F000"] {
        assert_ne!(Failure::of(&sent(code, "")), Failure::NoTable, "{code}");
    }
}

#[test]
fn an_authentication_method_that_is_not_supported_is_no_outage_of_the_network() {
    for said in [
        "unknown authentication method: 7",
        "unsupported authentication method: KerberosV5",
        "unsupported SASL authentication mechanisms: OAUTHBEARER",
    ] {
        let error = in_words(db_error(sqlx::Error::Protocol(said.to_owned())));
        let trouble = Trouble::of(&error);
        assert!(!trouble.failure.is_temporary(), "{said}");
        assert!(trouble.failure.is_outage(), "{said}");
        assert!(
            trouble
                .to_string()
                .ends_with("for this user in pg_hba.conf"),
            "{trouble}"
        );
    }
    // The library's own words, at the beginning: the rest may change.
    let said = "Postgres returned a non-UTF-8 string for its error message.";
    for error in [
        db_error(sqlx::Error::Protocol(said.to_owned())),
        in_words(db_error(sqlx::Error::Protocol(said.to_owned()))),
    ] {
        let trouble = Trouble::of(&error);
        assert_eq!(trouble.failure, Failure::ForeignEncoding);
        assert!(trouble.failure.is_temporary(), "{trouble}");
        assert!(
            trouble.to_string().ends_with("in postgresql.conf"),
            "{trouble}"
        );
    }
    let other = db_error(sqlx::Error::Protocol("unexpected message".to_owned()));
    assert_eq!(Failure::of(&in_words(other)), Failure::Connection(false));
}

#[test]
fn only_an_answer_of_the_database_says_that_a_commit_has_stored_nothing() {
    let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
    for error in [
        timed_out(Duration::from_secs(7)),
        DbErr::Exec(RuntimeErr::SqlxError(lost.into())),
        sent("57P01", "terminating connection"),
        sent("08007", ""),
        sent("40003", ""),
        panicked("a bug"),
    ] {
        let error = of_commit(error);
        assert_eq!(Failure::of(&error), Failure::Uncertain);
        assert!(Failure::Uncertain.is_outage() && !may_be_repeated(&error));
        assert!(words(&error).starts_with("the change may have been stored: "));
        assert!(words(&error).ends_with("; check whether it was stored before you repeat it"));
    }
    for error in [
        sent("40001", ""),
        sent("23503", ""),
        sent("53100", ""),
        sent("57014", ""),
        file_gone(),
        incomplete(),
    ] {
        assert_eq!(of_commit(error.clone()), error);
    }
}

#[test]
fn a_panic_keeps_its_text_and_is_no_unreadable_row() {
    let error = panicked("index out of bounds");
    assert_eq!(Failure::of(&error), Failure::Panicked);
    assert!(words(&error).contains("index out of bounds"));
    let text = "OS can't spawn worker thread: Resource temporarily unavailable (os error 11)";
    let error = panicked(text);
    assert_eq!(Failure::of(&error), Failure::Threads);
    assert!(words(&error).contains("TasksMax"), "{}", words(&error));
}

#[test]
fn what_a_database_says_is_cut_and_safe_to_display() {
    let said: String = "😀\u{1b}[31m\n".repeat(1_000_000);
    let error = sent("P0001", said.leak());
    let trouble = Trouble::of(&error);
    assert!(
        trouble
            .what
            .starts_with("the database returned an error: 😀[31m 😀")
    );
    for shown in [trouble.to_string(), words(&error), words(&of_commit(error))] {
        assert!(shown.chars().count() < 1_500, "{}", shown.chars().count());
        assert!(!shown.contains(char::is_control), "{shown}");
    }
    let custom = DbErr::Custom("x".repeat(1_000_000));
    assert_eq!(words(&custom).matches('x').count(), 1_000);
}

#[test]
fn no_advice_about_an_sqlite_file_is_about_a_server() {
    let name = std::io::Error::new(std::io::ErrorKind::InvalidData, "must be valid UTF-8");
    for error in [
        timed_out(Duration::from_secs(7)),
        db_error(sqlx::Error::Io(name)),
        db_error(sqlx::Error::PoolTimedOut),
    ] {
        assert!(words(&error).contains("check DATABASE_URL"), "{error}");
        let error = of_file(error, Path::new("a.db"));
        let said = words(&error);
        assert!(!said.contains("DATABASE_URL"), "{said}");
        assert!(said.contains("check that the disk"), "{said}");
        assert!(Failure::of(&error).is_outage());
        assert_eq!(words(&of_file(error, Path::new("a.db"))), said);
    }
    let full = DbErr::Custom(FILE_GONE.to_owned());
    assert_eq!(
        Failure::of(&of_file(full, Path::new("a.db"))),
        Failure::File
    );
}
