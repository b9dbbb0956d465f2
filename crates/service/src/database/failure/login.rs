//! Logins that the library refuses before PostgreSQL has judged them.

/// The library supports fewer methods than PostgreSQL; with SASL, only SCRAM-SHA-256.
const METHOD: &str = "PostgreSQL asks for an authentication method that this program does not \
    support (GSS, SSPI); use scram-sha-256, cert or peer for this user in pg_hba.conf";
/// Before it has accepted a user, PostgreSQL writes messages in the language and the encoding of its
/// own settings.
const FOREIGN_ENCODING: &str = "PostgreSQL refused the connection with a message in an \
    encoding other than UTF-8. Its log contains the message, which is most often about the user, \
    the password or the database name in DATABASE_URL; to see it here, set lc_messages = 'C' in \
    postgresql.conf";
const PASSWORD: &str = "the password in DATABASE_URL contains characters that this program cannot \
    use for scram-sha-256 (RFC 4013), such as emoji, or text in both writing directions; set \
    another password with ALTER ROLE";
const USER: &str = "the user name in DATABASE_URL contains characters that this program cannot \
    use for scram-sha-256 (RFC 4013), such as emoji, or text in both writing directions; use \
    another user";

/// Our own message, if the library has refused a login, or cannot read PostgreSQL's refusal. The
/// library has no code for this (`sqlx-postgres` 0.9.0, `Authentication`, `sasl.rs` and
/// `Notice`), and its own message quotes a character of the password.
pub(super) fn message(error: &sqlx::Error) -> Option<&'static str> {
    const METHOD_SAID: [&str; 3] = [
        "unknown authentication method",
        "unsupported authentication method",
        "unsupported SASL authentication mechanism",
    ];
    match error {
        sqlx::Error::Protocol(said) if said.contains("non-UTF-8 string") => Some(FOREIGN_ENCODING),
        sqlx::Error::Protocol(said) => {
            let is_method = METHOD_SAID.iter().any(|it| said.contains(it));
            is_method.then_some(METHOD)
        }
        sqlx::Error::Configuration(said) => match said.to_string() {
            said if said.starts_with("Failed to saslprep password") => Some(PASSWORD),
            said if said.starts_with("Failed to saslprep username") => Some(USER),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a message says what to do, and needs no further advice.
pub(super) fn is_explained(message: &str) -> bool {
    message == METHOD
}

/// Whether PostgreSQL's refusal is in another encoding.
pub(super) fn is_in_foreign_encoding(message: &str) -> bool {
    message == FOREIGN_ENCODING
}

/// Whether a message is about the user or the password.
pub(super) fn is_about_credentials(message: &str) -> bool {
    [PASSWORD, USER].contains(&message)
}
