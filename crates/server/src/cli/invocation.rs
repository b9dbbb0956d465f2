//! Where a command works, and who the author of its changes is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use license_core::signing_clock::SigningTime;
use license_service::admin_token::{AdminToken, read_token};
use license_service::clock::{Clock as _, SystemClock};
use tokio::sync::OnceCell;

use crate::audit::{Actor, AuthorToken, Change, PermittedChange};
use crate::config::Storage;
use crate::licensing::clock;
use crate::store::{Store, admin_tokens};

const SETTING: &str = "AUTHOR_TOKEN_FILE";
const ADVICE: &str = "create one with 'license-server tokens add NAME'";

/// The author of a command's changes.
#[derive(Debug, Args)]
pub(super) struct AuthorArgs {
    /// File with your named token, which makes you the author of the command's changes. Without a
    /// token, the author is "command line"
    #[arg(long, env, global = true, value_name = "FILE")]
    author_token_file: Option<PathBuf>,
}

/// A command that may change something.
#[derive(Debug)]
pub(super) struct Invocation {
    /// The database and the signing keys.
    pub(super) storage: Storage,
    author_token_file: Option<PathBuf>,
    /// The author, from the first change on.
    by: OnceCell<Actor>,
}

impl Invocation {
    /// A command with these settings.
    pub(super) fn new(storage: Storage, author: AuthorArgs) -> Self {
        Self {
            storage,
            author_token_file: author.author_token_file,
            by: OnceCell::new(),
        }
    }

    /// The author.
    ///
    /// # Errors
    /// If the file with the token or the database cannot be read, or if the token is not in the
    /// database or has expired.
    pub(super) async fn by(&self, store: &Store) -> anyhow::Result<Actor> {
        let find = || async {
            match &self.author_token_file {
                Some(file) => owner(store, file).await,
                None => Ok(Actor::CommandLine),
            }
        };
        self.by.get_or_try_init(find).await.cloned()
    }

    /// A change by this author.
    ///
    /// # Errors
    /// As [`Self::by`].
    pub(super) async fn change(&self, store: &Store, now: DateTime<Utc>) -> anyhow::Result<Change> {
        let by = self.by(store).await?;
        Ok(Change { by, at: now })
    }

    /// The same for a change that needs a clock that is trusted.
    ///
    /// # Errors
    /// As [`Self::by`], and while the clock may be wrong.
    pub(super) async fn permitted_change(
        &self,
        store: &Store,
        now: DateTime<Utc>,
    ) -> anyhow::Result<PermittedChange> {
        let at = permit(store, now).await?;
        Ok(PermittedChange::new(self.by(store).await?, at))
    }
}

/// Whether this machine's clock is trusted.
pub(super) async fn permit(store: &Store, now: DateTime<Utc>) -> anyhow::Result<SigningTime> {
    let clock = clock::open(store, Arc::new(SystemClock)).await?;
    Ok(clock.permit(now)?)
}

/// The person or program whose token is in a file.
async fn owner(store: &Store, file: &Path) -> anyhow::Result<Actor> {
    let key = AdminToken::new(&read_token(SETTING, file, ADVICE)?);
    let usable = admin_tokens::usable(store.reader()).await?;
    let mut usable = usable.into_iter();
    let found = usable.find(|(known, _)| *known == key);
    let (_, token) = found.with_context(|| {
        format!("{SETTING}: no token has this value, or it was revoked; {ADVICE}")
    })?;
    let now = SystemClock.now();
    ensure!(
        !token.has_ended(now),
        "{SETTING}: the token of {} has expired; {ADVICE}",
        token.name
    );
    // Only informational: a preview must work while the database is read-only.
    if let Err(error) = admin_tokens::note_used(store.reader(), token.id, now).await {
        tracing::debug!(%error, "failed to store when the token was last used");
    }
    Ok(Actor::Operator {
        token: AuthorToken::new(token.id, Arc::new(SystemClock)),
        name: token.name,
    })
}
