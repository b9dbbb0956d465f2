//! Know whether changes can be stored.

use std::time::Duration;

use license_service::database::{Failure, Trouble};

use crate::app::App;

/// How old an answer of the database may be. Anyone may ask, so all callers
/// share one question in this time.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Why the database does not take changes; `None` when it does.
pub async fn database_trouble(app: &App) -> Option<Trouble> {
    if let Some(trouble) = app.database().trouble {
        return Some(trouble);
    }
    let ask = || {
        let store = app.store.clone();
        async move { store.ping().await.err().map(|error| error.trouble()) }
    };
    let asked = app.database_trouble.get(MAX_AGE, ask).await;
    asked.unwrap_or_else(|| {
        Some(Trouble {
            what: "the database check failed; see the log".to_owned(),
            failure: Failure::Panicked,
        })
    })
}
