//! The text of an error that ends a command, with its causes.

use std::error::Error;

use sea_orm::DbErr;

use crate::database::words;

/// The texts of an error and of its causes, each fact one time. Most of our errors contain the text
/// of their cause, which is therefore left out; and errors of the database library are described in
/// our own words ([`words`]), which are in the text of the error that it caused.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let causes = std::iter::successors(Some(error), |&error| error.source());
    for cause in causes {
        let of_database = cause.downcast_ref::<DbErr>();
        let of_cause = match of_database {
            Some(error) => words(error),
            None => cause.to_string(),
        };
        if !text.contains(&of_cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&of_cause);
        }
        if of_database.is_some() {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use sea_orm::RuntimeErr;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("cannot start: {0}")]
        Repeats(#[source] io::Error),
        #[error("cannot start")]
        Carries(#[source] io::Error),
        #[error("{}", words(.0))]
        Database(#[source] DbErr),
    }

    #[test]
    fn each_cause_is_told_one_time() {
        let cause = || io::Error::other("disk on fire");
        let lost = || {
            let error = sqlx::Error::Io(cause());
            DbErr::Query(RuntimeErr::SqlxError(error.into()))
        };
        for error in [Failed::Repeats(cause()), Failed::Carries(cause())] {
            assert_eq!(with_causes(&error), "cannot start: disk on fire");
        }
        for text in [with_causes(&Failed::Database(lost())), with_causes(&lost())] {
            assert_eq!(text, words(&lost()));
            assert_eq!(text.matches("disk on fire").count(), 1, "{text}");
        }
    }
}
