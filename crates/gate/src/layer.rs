//! A tower layer that lets requests through, or answers them itself.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{Either, MapOk, TryFutureExt as _};
use http::{Request, Response};
use http_body_util::{Either as EitherBody, Full};
use license_core::route::{Need, RouteTable};
use tower_layer::Layer;
use tower_service::Service;

use crate::decision::{Decision, Reason};
use crate::gate::Gate;
use crate::refusal::refusal;

/// Lets requests through while what they need is available, and answers 403
/// otherwise, or `PERMISSION_DENIED` to gRPC. Made by [`Gate::layer`] and
/// [`Gate::layer_by_path`].
#[derive(Clone, Debug)]
pub struct GateLayer {
    gate: Gate,
    needs: Arc<Needs>,
}

impl Gate {
    /// A layer that lets requests through while `feature` is available.
    #[must_use]
    pub fn layer(&self, feature: &str) -> GateLayer {
        self.layer_for(Needs::Feature(feature.to_owned()))
    }

    /// A layer that lets requests through while the feature is available that
    /// `routes` name for their path.
    #[must_use]
    pub fn layer_by_path(&self, routes: RouteTable) -> GateLayer {
        self.layer_for(Needs::ByPath(Box::new(routes)))
    }

    fn layer_for(&self, needs: Needs) -> GateLayer {
        GateLayer {
            gate: self.clone(),
            needs: Arc::new(needs),
        }
    }
}

/// What says what a request needs.
#[derive(Debug)]
enum Needs {
    Feature(String),
    ByPath(Box<RouteTable>),
}

/// A service behind a gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    layer: GateLayer,
}

impl GateLayer {
    /// The decision about a request, and the feature that it needs.
    fn decide<B>(&self, request: &Request<B>) -> (Decision, Option<&str>) {
        let feature = match &*self.needs {
            Needs::Feature(feature) => feature,
            Needs::ByPath(routes) => {
                match routes.need(request.method().as_str(), request.uri().path()) {
                    Need::Feature(key) => key.as_str(),
                    Need::Nothing => return (Decision::yes(Reason::NoFeatureNeeded), None),
                    Need::Unlisted => return (Decision::no(Reason::NotListed), None),
                    Need::BadPath(_) => return (Decision::no(Reason::BadPath), None),
                }
            }
        };
        (self.gate.check(feature), Some(feature))
    }
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

/// The body of what is behind the gate, or of a refusal.
type Body<B> = EitherBody<B, Full<Bytes>>;

impl<S, Sent, Answered> Service<Request<Sent>> for Gated<S>
where
    S: Service<Request<Sent>, Response = Response<Answered>>,
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

    fn call(&mut self, request: Request<Sent>) -> Self::Future {
        let (decision, feature) = self.layer.decide(&request);
        if decision.available {
            let answer: fn(_) -> _ = |response: Response<_>| response.map(EitherBody::Left);
            return Either::Left(self.inner.call(request).map_ok(answer));
        }
        let tier = self.layer.gate.tier();
        let refusal = refusal(decision.reason, feature, tier.as_deref(), request.headers());
        Either::Right(ready(Ok(refusal.map(EitherBody::Right))))
    }
}
