//! Know whether changes can be stored.

use std::time::Duration;

use crate::app::App;

/// How old an answer of the database may be. Anyone may ask, so all callers
/// share one question in this time.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Why the database does not take changes; `None` when it does.
pub async fn database_trouble(app: &App) -> Option<String> {
    if let Some(trouble) = app.database().trouble {
        return Some(trouble);
    }
    let ask = || {
        let store = app.store.clone();
        async move { store.ping().await.err().map(|error| error.to_string()) }
    };
    let asked = app.database_trouble.get(MAX_AGE, ask).await;
    asked.unwrap_or_else(|| Some("the database check failed; see the log".to_owned()))
}
