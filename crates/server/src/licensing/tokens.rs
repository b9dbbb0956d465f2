//! Tokens of the vendor's staff: create and revoke. A token is shown only when it is created.

use chrono::{DateTime, Utc};
use license_service::admin_token::AdminToken;
use license_service::database::repeated;
use license_service::token_text::new_token;
use sea_orm::ConnectionTrait;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::audit::{Action, Change};
use crate::keyed_call::{CREATED, note_answer};
use crate::licensing::reserved_names::is_reserved;
use crate::licensing::text_bounds::fits;
use crate::store::admin_tokens::{self, NamedToken};
use crate::store::locks::{self, Lock};
use crate::store::{Store, StoreError, console_sessions};

/// Maximum length of a name, in characters: the width of its column.
pub const MAX_NAME_CHARS: usize = 64;
/// Maximum length of a note, in characters.
pub const MAX_NOTE_CHARS: usize = 1000;
/// Maximum number of tokens that are not revoked: every server keeps all of them in memory.
pub const MAX_TOKENS: u64 = 1000;

/// The token to create.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest {
    /// The author of changes that are made with it.
    pub name: String,
    /// The last instant at which it may be used.
    pub expires_at: Option<DateTime<Utc>>,
    /// For people.
    pub note: Option<String>,
}

/// Why a token was not created or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name is not one.
    #[error(
        "invalid name '{0}'; expected 1 to {MAX_NAME_CHARS} lower-case letters, digits, '.', '-' \
         and '_', starting with a letter"
    )]
    Name(String),
    /// The name is that of another author, or looks like it.
    #[error(
        "the name '{0}' is reserved, or looks like a reserved one; choose a name that people \
         cannot mistake for another author"
    )]
    Reserved(String),
    /// The name is in use.
    #[error("there is already a token '{0}'; revoke it first, or choose another name")]
    Exists(String),
    /// There are too many.
    #[error("there are {MAX_TOKENS} tokens already; revoke those that are no longer used")]
    TooMany,
    /// The note is too long.
    #[error("the note is limited to {MAX_NOTE_CHARS} characters")]
    Note,
    /// The end has already passed.
    #[error("the token would expire at {0}, which has passed")]
    Ended(DateTime<Utc>),
    /// No token that could be revoked has this name.
    #[error(
        "there is no token '{0}', or it has already been revoked; see 'license-server tokens list'"
    )]
    Unknown(String),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates a token; returns its text, which is stored nowhere, and what is known about it.
///
/// # Errors
/// One [`TokenError`] for each reason; nothing is created then.
pub async fn add(
    store: &Store,
    request: &TokenRequest,
    change: &Change,
) -> Result<(String, NamedToken), TokenError> {
    check(request, change.at)?;
    let text = new_token();
    let token = repeated(|| try_add(store, &text, request, change)).await?;
    tracing::info!(security = true, name = token.name, "token created");
    Ok((text, token))
}

async fn try_add(
    store: &Store,
    text: &str,
    request: &TokenRequest,
    change: &Change,
) -> Result<NamedToken, TokenError> {
    let transaction = store.begin().await?;
    let count = admin_tokens::count_usable(&transaction);
    let adding = insert(&transaction, text, request, change);
    let added = locks::add_within(&transaction, Lock::Tokens, MAX_TOKENS, count, adding).await?;
    let token = added.ok_or(TokenError::TooMany)?;
    let details = json!({"expiresAt": token.expires_at, "note": token.note});
    change
        .note_other(&transaction, Action::TokenAdded, &token.name, details)
        .await?;
    let shown = || ShownNewToken {
        token: text.to_owned(),
        known: ShownNamedToken::of(token.clone(), change.at),
    };
    note_answer(&transaction, CREATED, shown).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(token)
}

async fn insert(
    db: &impl ConnectionTrait,
    text: &str,
    request: &TokenRequest,
    change: &Change,
) -> Result<NamedToken, TokenError> {
    let exists = || TokenError::Exists(request.name.clone());
    if admin_tokens::find(db, &request.name).await?.is_some() {
        return Err(exists());
    }
    let token = NamedToken {
        id: 0,
        name: request.name.clone(),
        note: request.note.clone(),
        created_at: change.at,
        created_by: change.by.to_string(),
        expires_at: request.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    let hash = AdminToken::new(&text.into());
    match admin_tokens::insert(db, token, &hash).await {
        // Another call has created it at the same time.
        Err(error) if error.is_taken() => Err(exists()),
        stored => Ok(stored?),
    }
}

/// Revokes a token, and ends the sessions of the console that were begun with it.
///
/// # Errors
/// [`TokenError::Unknown`], or if the database returns an error.
pub async fn revoke(store: &Store, name: &str, change: &Change) -> Result<NamedToken, TokenError> {
    let token = repeated(|| try_revoke(store, name, change)).await?;
    tracing::info!(security = true, name = token.name, "token revoked");
    Ok(token)
}

async fn try_revoke(store: &Store, name: &str, change: &Change) -> Result<NamedToken, TokenError> {
    let unknown = || TokenError::Unknown(name.to_owned());
    let transaction = store.begin().await?;
    // No name contains a NUL, which PostgreSQL does not accept.
    let name = name.replace('\0', "");
    let found = admin_tokens::find(&transaction, &name).await?;
    let token = found.ok_or_else(unknown)?;
    // Changes that the token's owner is making finish first, and have lower numbers in the audit
    // log.
    admin_tokens::hold(&transaction, token.id).await?;
    // Before the token is revoked, which may be the author's own.
    change
        .note_other(&transaction, Action::TokenRevoked, &token.name, Value::Null)
        .await?;
    if !admin_tokens::revoke(&transaction, token.id, change.at).await? {
        return Err(unknown());
    }
    console_sessions::remove_of_token(&transaction, token.id).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(NamedToken {
        revoked_at: Some(change.at),
        ..token
    })
}

/// Checks a token to create. Whether the name is in use is not checked.
///
/// # Errors
/// One [`TokenError`] for each value that is not accepted.
pub fn check(request: &TokenRequest, now: DateTime<Utc>) -> Result<(), TokenError> {
    let name = &request.name;
    let is_one = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || name.len() > MAX_NAME_CHARS || !name.chars().all(is_one) {
        return Err(TokenError::Name(name.clone()));
    }
    if is_reserved(name) {
        return Err(TokenError::Reserved(name.clone()));
    }
    let note = request.note.as_deref().unwrap_or_default();
    if !fits(note, MAX_NOTE_CHARS) {
        return Err(TokenError::Note);
    }
    match request.expires_at.filter(|end| *end < now) {
        Some(end) => Err(TokenError::Ended(end)),
        None => Ok(()),
    }
}

/// The status of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenStatus {
    /// It may be used.
    Active,
    /// Its end has passed.
    Expired,
    /// It was revoked.
    Revoked,
}

impl TokenStatus {
    /// The text in tables and responses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A token as programs see it: without the token itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Token)]
pub struct ShownNamedToken {
    /// The author of changes that are made with it.
    pub name: String,
    /// Whether it may be used now.
    pub status: TokenStatus,
    /// A free-text note.
    pub note: Option<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Who created it.
    pub created_by: String,
    /// The last instant at which it may be used; `null` if it has no end.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl ShownNamedToken {
    /// A token in its current state.
    #[must_use]
    pub fn of(token: NamedToken, now: DateTime<Utc>) -> Self {
        let status = match token.revoked_at {
            Some(_) => TokenStatus::Revoked,
            None if token.has_ended(now) => TokenStatus::Expired,
            None => TokenStatus::Active,
        };
        Self {
            name: token.name,
            status,
            note: token.note,
            created_at: token.created_at,
            created_by: token.created_by,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// A new token. Only this response contains its text.
#[derive(Serialize, ToSchema)]
#[schema(as = NewToken)]
pub struct ShownNewToken {
    /// The token itself. It cannot be shown again.
    pub token: String,
    /// What is known about it.
    #[serde(flatten)]
    pub known: ShownNamedToken,
}
