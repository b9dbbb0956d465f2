//! Schemas that the database user has no access to, although its tables are or would be there.
//!
//! PostgreSQL leaves such a schema out of the search path and says nothing: the tables in it look
//! as if they did not exist, and new ones would be created in the next schema. The catalog shows
//! both to every user.

use license_core::foreign_text;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::failure;

/// The schema that every database has.
const PUBLIC: &str = "public";

/// So many tables with names of this program are not those of another one.
const CERTAIN: u32 = 2;

/// Each schema, with its quoted name, whether the user may use it and create tables in it, and how
/// many tables of this program are in it that no other user could have planted; the search path as
/// it is written, the user, and its quoted name.
const LOOK_UP: &str = "
    SELECT n.nspname::pg_catalog.text, pg_catalog.quote_ident(n.nspname),
        pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
        pg_catalog.has_schema_privilege(n.oid, 'CREATE'),
        (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) c.relowner
            WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid
                AND c.relname OPERATOR(pg_catalog.=) ANY (ARRAY[TABLES]::pg_catalog.name[])
                AND c.relkind::pg_catalog.text OPERATOR(pg_catalog.=)
                    ANY (ARRAY['r', 'p', 'v', 'm', 'f'])
                AND (o.rolsuper OR o.oid OPERATOR(pg_catalog.=) d.datdba
                    OR pg_catalog.pg_has_role(o.oid, 'USAGE'))),
        pg_catalog.current_setting('search_path'), current_user::pg_catalog.text,
        pg_catalog.quote_ident(current_user)
    FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";

/// What the database user may do with each schema.
pub(super) struct Access {
    schemas: Vec<Schema>,
    /// The schemas of the search path as it is written.
    path: Vec<String>,
    quoted_user: String,
}

struct Schema {
    name: String,
    quoted: String,
    is_usable: bool,
    is_creatable: bool,
    tables: i64,
}

impl Access {
    /// Looks for these tables, of which some are missing. `db` must still have the search path of
    /// the site.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn read(
        db: &impl ConnectionTrait,
        tables: &[&'static str],
    ) -> Result<Self, DbErr> {
        let names: Vec<String> = tables.iter().map(|table| format!("'{table}'")).collect();
        let look_up = LOOK_UP.replace("TABLES", &names.join(", "));
        let look_up = Statement::from_string(DbBackend::Postgres, look_up);
        let mut access = Self {
            schemas: Vec::new(),
            path: Vec::new(),
            quoted_user: String::new(),
        };
        for row in db.query_all_raw(look_up).await? {
            access.schemas.push(Schema {
                name: row.try_get_by_index(0)?,
                quoted: row.try_get_by_index(1)?,
                is_usable: row.try_get_by_index(2)?,
                is_creatable: row.try_get_by_index(3)?,
                tables: row.try_get_by_index(4)?,
            });
            let (path, user): (String, String) =
                (row.try_get_by_index(5)?, row.try_get_by_index(6)?);
            access.path = names_of(&path, &user);
            access.quoted_user = row.try_get_by_index(7)?;
        }
        Ok(access)
    }

    /// Refuses to go on without tables that exist where the search path says, or in `public`, and
    /// that the user has no access to. `visible` is the number of tables that were found.
    ///
    /// # Errors
    /// If there are any, with the statement that gives access.
    pub(super) fn refuse_hidden(&self, visible: usize) -> Result<(), DbErr> {
        // A site that has moved its tables may have left the old ones behind.
        if visible >= CERTAIN as usize {
            return Ok(());
        }
        let is_hidden = |it: &&Schema| {
            let is_named = it.name == PUBLIC || self.path.contains(&it.name);
            is_named && it.tables >= i64::from(CERTAIN) && !it.is_usable
        };
        match self.schemas.iter().find(is_hidden) {
            Some(hidden) => Err(failure::no_access(&foreign_text::message(&format!(
                "the schema {} contains tables of this program: GRANT USAGE ON SCHEMA {} TO {}",
                hidden.name, hidden.quoted, self.quoted_user
            )))),
            None => Ok(()),
        }
    }

    /// Why no table can be created in `schema`, or, without one, where the search path says; `None`
    /// if that is possible.
    pub(super) fn why_none_is_created(&self, schema: Option<&str>) -> Option<DbErr> {
        let user = &self.quoted_user;
        let of = |name: &str| self.schemas.iter().find(|it| it.name == name);
        let in_path = || self.path.iter().find_map(|name| of(name));
        let why = match schema.and_then(of).or_else(in_path) {
            Some(it) if it.is_usable && it.is_creatable => return None,
            Some(it) => {
                let rights = match (it.is_usable, it.is_creatable) {
                    (true, _) => "CREATE",
                    (false, true) => "USAGE",
                    (false, false) => "USAGE, CREATE",
                };
                let (name, quoted) = (&it.name, &it.quoted);
                format!(
                    "the user has to create tables in the schema {name}: GRANT {rights} ON SCHEMA \
                     {quoted} TO {user}"
                )
            }
            None => format!(
                "there is no schema for its tables: CREATE SCHEMA {user} AUTHORIZATION {user}, or \
                 correct search_path"
            ),
        };
        Some(failure::no_access(&foreign_text::message(&why)))
    }
}

/// The names in a search path (PostgreSQL's manual, section 5.9.3).
fn names_of(path: &str, user: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut is_quoted = false;
    let mut before = ' ';
    for c in path.chars() {
        let name = names.last_mut();
        match (c, name) {
            ('"', name) => {
                is_quoted = !is_quoted;
                // A doubled quote is one.
                if is_quoted && before == '"' {
                    name.into_iter().for_each(|it| it.push('"'));
                }
            }
            (',', _) if !is_quoted => names.push(String::new()),
            (c, Some(name)) if is_quoted => name.push(c),
            (c, Some(name)) if !c.is_whitespace() => name.extend(c.to_lowercase()),
            _ => {}
        }
        before = c;
    }
    for name in &mut names {
        if name == "$user" {
            user.clone_into(name);
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(path: &str, schemas: &[(&str, bool, bool, bool)]) -> Access {
        let schema =
            |(name, is_usable, is_creatable, has_tables): &(&str, bool, bool, bool)| Schema {
                name: (*name).to_owned(),
                quoted: (*name).to_owned(),
                is_usable: *is_usable,
                is_creatable: *is_creatable,
                tables: if *has_tables { 4 } else { 1 },
            };
        Access {
            schemas: schemas.iter().map(schema).collect(),
            path: names_of(path, "ls"),
            quoted_user: "ls".to_owned(),
        }
    }

    #[test]
    fn a_search_path_is_read_as_by_postgresql() {
        for (path, names) in [
            ("\"$user\", public", vec!["ls", "public"]),
            ("$user,VMS", vec!["ls", "vms"]),
            ("\"Of, \"\"us\"\"\", b", vec!["Of, \"us\"", "b"]),
            ("", vec![]),
            ("\"\", a", vec!["a"]),
        ] {
            assert_eq!(names_of(path, "ls"), names, "{path}");
        }
    }

    #[test]
    fn tables_that_are_out_of_reach_are_never_created_anew() {
        for (path, name, is_refused) in [
            ("\"$user\", public", "public", true),
            ("vms", "vms", true),
            // Tables that were in 'public' before the search path was set.
            ("vms", "public", true),
            ("vms", "elsewhere", false),
        ] {
            for (is_usable, has_tables) in [(false, true), (true, true), (false, false)] {
                let schemas = [
                    ("ls", true, true, false),
                    (name, is_usable, true, has_tables),
                ];
                let access = access(path, &schemas);
                assert!(access.refuse_hidden(4).is_ok(), "{path} {name}");
                let refused = access.refuse_hidden(1);
                let expected = is_refused && !is_usable && has_tables;
                assert_eq!(refused.is_err(), expected, "{path} {name}");
                if let Err(refused) = refused {
                    let grant = format!("GRANT USAGE ON SCHEMA {name} TO ls");
                    assert!(refused.to_string().ends_with(&grant), "{refused}");
                }
            }
        }
    }

    #[test]
    fn the_grant_is_the_one_that_is_missing() {
        for (schemas, schema, expected) in [
            (vec![("public", true, true, false)], None, None),
            (
                vec![("public", true, false, false)],
                None,
                Some("GRANT CREATE ON SCHEMA public TO ls"),
            ),
            (
                vec![("public", false, true, false)],
                None,
                Some("GRANT USAGE ON SCHEMA public TO ls"),
            ),
            (
                vec![("public", false, false, false)],
                None,
                Some("GRANT USAGE, CREATE ON SCHEMA public TO ls"),
            ),
            (
                vec![("ls", true, true, false), ("public", true, false, false)],
                Some("public"),
                Some("GRANT CREATE ON SCHEMA public TO ls"),
            ),
            (vec![], None, Some("CREATE SCHEMA ls AUTHORIZATION ls")),
        ] {
            let access = access("\"$user\", public", &schemas);
            let found = access.why_none_is_created(schema).map(|it| it.to_string());
            match expected {
                Some(expected) => assert!(found.unwrap().contains(expected), "{schemas:?}"),
                None => assert_eq!(found, None, "{schemas:?}"),
            }
        }
    }
}
