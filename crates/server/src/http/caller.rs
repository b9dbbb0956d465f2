//! The vendor's staff as callers. What they cause uses only their share of the connections to the
//! database: a [`Caller`] tells who it is only to work that runs within the share.

use std::net::IpAddr;
use std::sync::Arc;

use license_service::admin_token::AdminToken;
use license_service::caller_place::with_share;
use license_service::clock::Clock;
use license_service::sessions::{Door, SealedName};

use crate::audit::{Actor, AuthorToken, BREAK_GLASS};
use crate::http::known_tokens::KnownToken;

/// The owner of a token, with its share of the connections: that of its token, wherever the token
/// is used.
#[derive(Clone)]
pub(crate) struct Caller {
    staff: Staff,
    share: Arc<str>,
}

/// The owner of a token, for work within its share.
#[derive(Clone)]
pub(crate) struct Staff {
    name: String,
    /// The named token; `None` for the `ADMIN_TOKEN`.
    token: Option<AuthorToken>,
    /// What seals the names of sessions.
    key: AdminToken,
}

impl Caller {
    /// The owner of the `ADMIN_TOKEN`.
    pub(super) fn break_glass(key: AdminToken) -> Self {
        Self {
            staff: Staff {
                name: BREAK_GLASS.to_owned(),
                token: None,
                key,
            },
            share: BREAK_GLASS.into(),
        }
    }

    /// The owner of a named token.
    pub(super) fn named(known: &KnownToken, clock: Arc<dyn Clock>) -> Self {
        let token = &known.token;
        Self {
            share: format!("token {}", token.id).into(),
            staff: Staff {
                name: token.name.clone(),
                token: Some(AuthorToken::new(token.id, clock)),
                key: known.key,
            },
        }
    }

    /// Does work for this caller, whose database calls use only the caller's share.
    #[expect(
        clippy::disallowed_methods,
        reason = "every other place has to name the caller, not only a share"
    )]
    pub(crate) async fn within_share<T, F: Future<Output = T>>(
        self,
        work: impl FnOnce(Staff) -> F,
    ) -> T {
        let Self { staff, share } = self;
        with_share(share, async { work(staff).await }).await
    }

    /// The number of the named token; `None` for the `ADMIN_TOKEN`.
    pub(super) fn token(&self) -> Option<i64> {
        self.staff.token()
    }

    /// Whether this caller has begun the session with this name.
    pub(super) fn has_sealed(&self, name: &SealedName<'_>) -> bool {
        self.token() == name.token() && name.is_sealed_with(&self.staff.key)
    }
}

impl Staff {
    /// The author of what this caller does, for the log.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The number of the named token; `None` for the `ADMIN_TOKEN`.
    pub(crate) fn token(&self) -> Option<i64> {
        self.token.as_ref().map(AuthorToken::id)
    }

    /// The name and the id of a new session.
    pub(super) fn new_session(&self) -> (String, String) {
        SealedName::create(&self.key, self.token())
    }

    /// The author of what this caller does.
    pub(crate) fn actor(self, door: Door, address: IpAddr) -> Actor {
        Actor::Staff {
            name: self.name,
            token: self.token,
            door,
            address,
        }
    }
}
