//! A tower layer that passes requests on or answers them itself.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{Either, MapOk, TryFutureExt as _};
use http::{Request, Response, Uri};
use http_body_util::{Either as EitherBody, Full};
use license_core::route::Need;
use tower_layer::Layer;
use tower_service::Service;

use crate::decision::{Decision, Reason};
use crate::feature_key::FeatureKey;
use crate::gate::Gate;
use crate::refusal::{Refusal, RefusalHandler};
use crate::routes::{FinishedRoutes, Routes};

/// Allows requests while the required feature is available, with the [`Decision`] in
/// their extensions. Otherwise answers 403, or `PERMISSION_DENIED` for gRPC. Created by
/// [`Gate::layer`] and [`Gate::layer_by_path`].
#[derive(Clone)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct GateLayer {
    gate: Gate,
    rule: Arc<Rule>,
    on_refusal: Option<RefusalHandler>,
}

/// What a request requires.
enum Rule {
    Feature(FeatureKey),
    ByPath(FinishedRoutes),
}

impl Gate {
    /// A layer that allows requests while `feature` is available.
    pub fn layer(&self, feature: impl Into<FeatureKey>) -> GateLayer {
        let feature = feature.into();
        self.expect(&feature);
        self.layer_of(Rule::Feature(feature))
    }

    /// A layer that allows requests while the feature that `routes` name for their path is
    /// available. Paths that are not listed are refused.
    ///
    /// With the feature `axum` (on by default), the layer uses the path that the client
    /// sent, even inside a nested axum router. Place the layer outside other routers that
    /// change a request's path.
    pub fn layer_by_path(&self, routes: Routes) -> GateLayer {
        for feature in routes.features() {
            self.expect(feature);
        }
        self.layer_of(Rule::ByPath(routes.finish()))
    }

    fn layer_of(&self, rule: Rule) -> GateLayer {
        GateLayer {
            gate: self.clone(),
            rule: Arc::new(rule),
            on_refusal: self.shared().options.on_refusal.clone(),
        }
    }
}

impl GateLayer {
    /// Builds the responses to refused requests: a page, a translation or
    /// `application/problem+json`. [`Refusal::response`] is the default response.
    /// `X-License-Reason` is added. gRPC requests get a gRPC status instead.
    ///
    /// ```
    /// # let gate = license_gate::Gate::fixed(["module.map_view"]);
    /// use license_gate::http::Response;
    ///
    /// let layer = gate.layer("module.map_view").on_refusal(|refusal| {
    ///     let page = format!("<h1>Not licensed</h1><p>{}</p>", refusal.message());
    ///     let response = Response::builder().status(403).header("content-type", "text/html");
    ///     response.body(page.into()).unwrap_or_else(|_| refusal.response())
    /// });
    /// ```
    pub fn on_refusal(
        mut self,
        answer: impl Fn(&Refusal<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.on_refusal = Some(Arc::new(answer));
        self
    }

    /// The decision about a request, and the feature that it requires.
    fn decide<B>(&self, request: &Request<B>) -> (Decision, Option<&str>) {
        let feature = match &*self.rule {
            Rule::Feature(feature) => feature.as_str(),
            Rule::ByPath(routes) => {
                let path = original_uri(request).path();
                match routes.need(request.method().as_str(), path) {
                    Need::Feature(key) => key.as_str(),
                    Need::Nothing => return (Decision::yes(Reason::NoFeatureNeeded), None),
                    Need::Unlisted => return (Decision::no(Reason::NotListed), None),
                    Need::BadPath(_) => return (Decision::no(Reason::BadPath), None),
                }
            }
        };
        (self.gate.shared().decide(feature), Some(feature))
    }
}

/// The URI that the client sent: a nested axum router sees only part of it.
#[cfg(feature = "axum")]
pub(crate) fn original_uri<B>(request: &Request<B>) -> &Uri {
    let original = request.extensions().get::<axum::extract::OriginalUri>();
    original.map_or(request.uri(), |original| &original.0)
}

#[cfg(not(feature = "axum"))]
fn original_uri<B>(request: &Request<B>) -> &Uri {
    request.uri()
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service behind a gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    layer: GateLayer,
}

/// The body of the inner service, or of a refusal.
type Body<B> = EitherBody<B, Full<Bytes>>;

impl<S, Sent, Answered> Service<Request<Sent>> for Gated<S>
where
    S: Service<Request<Sent>, Response = Response<Answered>> + Clone,
{
    type Response = Response<Body<Answered>>;
    type Error = S::Error;
    type Future = Either<
        MapOk<S::Future, fn(Response<Answered>) -> Self::Response>,
        Ready<Result<Self::Response, S::Error>>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Sent>) -> Self::Future {
        let (decision, feature) = self.layer.decide(&request);
        let shared = self.layer.gate.shared();
        shared.notify_hooks(feature, decision);
        if decision.available {
            request.extensions_mut().insert(decision);
            let answer: fn(_) -> _ = |response: Response<_>| response.map(EitherBody::Left);
            return Either::Left(self.inner.call(request).map_ok(answer));
        }
        let table = shared.table();
        let refusal = Refusal {
            reason: decision.reason,
            feature,
            tier: table.tier(),
            headers: request.headers(),
            uri: original_uri(&request),
        };
        let answer = refusal.answer(self.layer.on_refusal.as_ref());
        // The service may have reserved something for this request, such as a permit of a
        // concurrency limit, which would be held until the next one. A clone holds nothing.
        self.inner = self.inner.clone();
        let answer = answer.map(|body| EitherBody::Right(Full::new(body)));
        Either::Right(ready(Ok(answer)))
    }
}

impl fmt::Debug for GateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("GateLayer");
        shown.field("gate", &self.gate);
        match &*self.rule {
            Rule::Feature(feature) => shown.field("feature", feature),
            Rule::ByPath(_) => shown.field("by_path", &true),
        };
        shown.finish_non_exhaustive()
    }
}
