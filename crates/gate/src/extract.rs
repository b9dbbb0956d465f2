//! An axum extractor that refuses a request.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRef, FromRequestParts, OriginalUri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;

use crate::decision::Decision;
use crate::feature_key::FeatureKey;
use crate::gate::Gate;
use crate::refusal::Refusal;

/// A feature as a type, for [`Licensed`].
pub trait Feature: Send + Sync + 'static {
    /// The feature's key, such as `module.map_view`.
    const KEY: &'static str;
}

/// Runs a handler only while a feature is available. The router's state has to be a
/// [`Gate`] or contain one ([`FromRef`]).
///
/// ```
/// use axum::{Router, routing::get};
/// use license_gate::{Feature, Gate, Licensed};
///
/// struct MapView;
/// impl Feature for MapView {
///     const KEY: &str = "module.map_view";
/// }
///
/// async fn map(licensed: Licensed<MapView>) -> String {
///     format!("a map: {}", licensed.decision().reason)
/// }
///
/// let gate = Gate::fixed(["module.map_view"]);
/// let router: Router = Router::new().route("/map", get(map)).with_state(gate);
/// ```
pub struct Licensed<F> {
    decision: Decision,
    feature: PhantomData<fn() -> F>,
}

impl<F> Licensed<F> {
    /// Why the feature is available.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decision
    }
}

impl<F: Feature> fmt::Debug for Licensed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Licensed").field(&F::KEY).finish()
    }
}

/// The response to a request that [`Licensed`] refused.
#[derive(Debug)]
pub struct NotLicensed {
    decision: Decision,
    response: http::Response<Bytes>,
}

impl NotLicensed {
    /// The reason.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decision
    }
}

impl IntoResponse for NotLicensed {
    fn into_response(self) -> Response {
        self.response.map(axum::body::Body::from)
    }
}

impl<F, S> FromRequestParts<S> for Licensed<F>
where
    F: Feature,
    S: Send + Sync,
    Gate: FromRef<S>,
{
    type Rejection = NotLicensed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, NotLicensed> {
        let gate = Gate::from_ref(state);
        let decision = gate.check(F::KEY);
        if decision.available {
            return Ok(Self {
                decision,
                feature: PhantomData,
            });
        }
        let shared = gate.shared();
        shared.require(&FeatureKey::from(F::KEY));
        let original = parts.extensions.get::<OriginalUri>();
        let table = shared.table();
        let refusal = Refusal {
            reason: decision.reason,
            feature: Some(F::KEY),
            tier: table.tier(),
            headers: &parts.headers,
            uri: original.map_or(&parts.uri, |original| &original.0),
        };
        let response = refusal.answer(shared.options.on_refusal.as_ref());
        Err(NotLicensed { decision, response })
    }
}
