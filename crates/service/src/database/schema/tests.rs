//! Tests of which tables fit, on SQLite. Those of PostgreSQL are with the services.

use sea_orm::entity::prelude::*;

use super::*;
use crate::database::{CheckedRow, Timeouts, make_file, words};
use crate::database_url::DatabaseUrl;

mod things {
    use super::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "things")]
    pub struct Model {
        #[sea_orm(primary_key)]
        id: i64,
        name: String,
        day: i64,
        note: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

const CHECK: CheckedRow = CheckedRow {
    table: "marks",
    row: "TRUE",
    unchanged: "mark = mark",
    changed: "mark = mark + 1",
};

async fn open(create: &str) -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("db");
    make_file(&file).unwrap();
    let url = DatabaseUrl::of_file(&file);
    let database = Database::new(&url, Timeouts::default()).unwrap();
    use things::{Column, Entity};
    database.expect(
        vec![ExpectedTable::of::<Entity>(&[&[Column::Name, Column::Day]])],
        &[],
    );
    let create = format!("{create}; CREATE TABLE marks (mark); INSERT INTO marks VALUES (1)");
    for statement in create.split(';') {
        database.execute_unprepared(statement).await.unwrap();
    }
    (directory, database)
}

async fn found(create: &str) -> Option<String> {
    let (_directory, database) = open(create).await;
    let checked = database.check_schema().await;
    checked.err().map(|error| {
        assert_eq!(Failure::of(&error), Failure::Schema);
        words(&error)
    })
}

#[tokio::test]
async fn what_works_fits() {
    for create in [
        "CREATE TABLE things (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name TEXT NOT NULL, \
         day INT NOT NULL, note TEXT NOT NULL, UNIQUE (day, name))",
        "CREATE TABLE Things (ID integer PRIMARY KEY, Name, day, note, extra INT, \
         another INT NOT NULL DEFAULT 7); CREATE UNIQUE INDEX a ON things (NAME, day)",
        "CREATE TABLE rest (id, name, day, note); CREATE VIEW things AS SELECT * FROM rest",
    ] {
        assert_eq!(found(create).await, None, "{create}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_repair() {
    let index = "missing unique indexes (if there is an invalid or different one with the same name, drop it \
         first, with DROP INDEX): CREATE UNIQUE INDEX things_name_day ON things (name, day);";
    let filled = "NOT NULL columns without a default that this program does not fill: things.";
    let columns = "name, day, note";
    for (create, expected) in [
        (
            "CREATE TABLE other (id)".to_owned(),
            "missing tables: things;".to_owned(),
        ),
        (
            format!("CREATE TABLE things (id INTEGER PRIMARY KEY, {columns})"),
            index.to_owned(),
        ),
        (
            format!(
                "CREATE TABLE things (id INTEGER PRIMARY KEY, {columns}); \
                     CREATE UNIQUE INDEX a ON things (name); \
                     CREATE UNIQUE INDEX b ON things (name, day, note); \
                     CREATE UNIQUE INDEX c ON things (name, day, lower(note)); \
                     CREATE UNIQUE INDEX d ON things (name, day) WHERE day > 1; \
                     CREATE INDEX e ON things (name, day)"
            ),
            index.to_owned(),
        ),
        (
            "CREATE TABLE things (id INTEGER PRIMARY KEY, price, note)".to_owned(),
            "missing columns: things.name, things.day;".to_owned(),
        ),
        (
            "CREATE TABLE things (email, price)".to_owned(),
            "in DATABASE_URL): things;".to_owned(),
        ),
        (
            "CREATE TABLE things (id INTEGER PRIMARY KEY, name, day, UNIQUE (name, day))"
                .to_owned(),
            "missing columns: things.note;".to_owned(),
        ),
        (
            format!(
                "CREATE TABLE things (id INTEGER PRIMARY KEY, {columns}, tenant INT NOT NULL, \
                     UNIQUE (name, day))"
            ),
            format!("{filled}tenant;"),
        ),
        (
            format!(
                "CREATE TABLE things (id BIGINT NOT NULL PRIMARY KEY, {columns}, \
                     UNIQUE (name, day))"
            ),
            format!("{filled}id;"),
        ),
    ] {
        let found = found(&create).await.unwrap();
        assert!(found.contains(&expected), "{create}: {found}");
        assert!(
            found.ends_with("or repair the object that the message names"),
            "{found}"
        );
    }
}

#[tokio::test]
async fn the_check_for_changes_reports_it_until_it_is_repaired() {
    let create = "CREATE TABLE things (id INTEGER PRIMARY KEY, name, day, note)";
    let (_directory, database) = open(create).await;
    database.note_schema().await.unwrap();
    // A check that others share for a second has to be another one each time.
    let check = async || {
        *database.0.last_check.lock().await = None;
        database.check_writable(CHECK).await
    };
    let error = check().await.unwrap_err();
    assert_eq!(Failure::of(&error), Failure::Schema);
    // The statement's own error does not name the index.
    let refused = "INSERT INTO things (name, day) VALUES ('a', 1) ON CONFLICT (name, day) \
                   DO NOTHING";
    let error = database.execute_unprepared(refused).await.unwrap_err();
    assert!(words(&error).contains("things_name_day"), "{error}");
    let index = "CREATE UNIQUE INDEX things_name_day ON things (name, day)";
    database.execute_unprepared(index).await.unwrap();
    check().await.unwrap();
    database.execute_unprepared(refused).await.unwrap();
}

#[tokio::test]
async fn a_refused_statement_is_reported_although_the_check_finds_nothing() {
    let create = "CREATE TABLE things (id INTEGER PRIMARY KEY, name, day, note, \
                  UNIQUE (name, day)); CREATE TABLE other (a INT NOT NULL)";
    let (_directory, database) = open(create).await;
    database.check_writable(CHECK).await.unwrap();
    for refused in [
        "INSERT INTO other VALUES (NULL)",
        "SELECT b FROM other",
        "INSERT INTO other (b) VALUES (1)",
        "INSERT INTO other VALUES (1) ON CONFLICT (a) DO NOTHING",
    ] {
        let error = database.execute_unprepared(refused).await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Schema, "{refused}: {error}");
    }
    *database.0.last_check.lock().await = None;
    let error = database.check_writable(CHECK).await.unwrap_err();
    assert!(
        words(&error).contains("ON CONFLICT clause does not match"),
        "{error}"
    );
}
