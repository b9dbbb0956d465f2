//! Operators and functions that another database user has defined in the schema `public`, and that
//! match the columns of the programs better than those of PostgreSQL.

use crate::database::TestDatabase;

/// What the arguments of statements may be: the columns are `varchar`, and the values `text`.
const ARGUMENTS: [(&str, &str); 3] = [
    ("varchar", "text"),
    ("varchar", "varchar"),
    ("text", "varchar"),
];
const OPERATORS: [&str; 8] = ["=", "<>", "<", ">", "<=", ">=", "~~", "||"];
const FUNCTIONS: [&str; 3] = ["lower", "upper", "length"];

/// The user that defines them; it may create objects in `public`, and has no other rights.
pub fn user(database: &TestDatabase) -> String {
    let name = database.url.rsplit('/').next().unwrap();
    format!("other_{name}")
}

/// Defines them. Each one records its use, and returns what PostgreSQL's would.
pub async fn set(database: &TestDatabase) {
    let user = user(database);
    let mut sql = format!(
        "CREATE ROLE {user}; GRANT CREATE ON SCHEMA public TO {user}; SET ROLE {user}; \
         CREATE TABLE public.sprung (what text); GRANT ALL ON public.sprung TO PUBLIC;"
    );
    for (number, operator) in OPERATORS.iter().enumerate() {
        let result = if *operator == "||" { "text" } else { "boolean" };
        for (left, right) in ARGUMENTS {
            sql += &format!(
                "CREATE FUNCTION public.trap_{number}({left}, {right}) RETURNS {result} \
                 LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.sprung VALUES ('{operator}'); \
                 RETURN $1::text OPERATOR(pg_catalog.{operator}) $2::text; END $$; \
                 CREATE OPERATOR public.{operator} (LEFTARG = {left}, RIGHTARG = {right}, \
                 FUNCTION = public.trap_{number});"
            );
        }
    }
    for function in FUNCTIONS {
        let result = if function == "length" {
            "integer"
        } else {
            "text"
        };
        sql += &format!(
            "CREATE FUNCTION public.{function}(varchar) RETURNS {result} LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO public.sprung VALUES ('{function}'); \
             RETURN pg_catalog.{function}($1::text); END $$;"
        );
    }
    database.execute(&format!("{sql} RESET ROLE")).await;
    // They work: another program uses them.
    let ask = "SELECT (key = 'x'::text)::text FROM (VALUES ('x'::varchar)) AS of (key)";
    assert_eq!(database.texts(ask).await, [Some("true".to_owned())]);
    assert_eq!(sprung(database).await, ["="]);
    database.execute("DELETE FROM public.sprung").await;
}

/// Which of them were used.
pub async fn sprung(database: &TestDatabase) -> Vec<String> {
    let ask = "SELECT DISTINCT what FROM public.sprung ORDER BY what";
    let used = database.texts(ask).await.into_iter();
    used.map(Option::unwrap).collect()
}

/// Removes the user, with everything that it has defined.
pub async fn remove(database: &TestDatabase) {
    let user = user(database);
    database
        .execute(&format!("DROP OWNED BY {user} CASCADE; DROP ROLE {user}"))
        .await;
}
