//! Responses that need neither the router nor its layers, for the questions that are asked most.
//!
//! A request that is answered here passes no layer: an implementation takes only those that every
//! layer would let pass unchanged, and leaves all others to the router.

use std::fmt::Debug;
use std::net::SocketAddr;

use axum::body::Bytes;
use axum::http::Response;
use axum::http::request::Parts;

/// Maximum size of a body that is read for a direct response, in bytes.
pub const MAX_BODY_BYTES: u64 = 4 * 1024;

/// Answers some requests before the router.
pub trait Direct: Debug + Send + Sync {
    /// What becomes of a request with this head.
    fn by_head(&self, head: &Parts, peer: SocketAddr) -> ByHead;

    /// The response to a request for which [`Self::by_head`] has asked for the body; `None` leaves
    /// it to the router.
    fn by_body(&self, head: &Parts, body: &[u8]) -> Option<Response<Bytes>>;
}

/// What becomes of a request, as far as its head says.
#[derive(Debug)]
pub enum ByHead {
    /// The router answers it.
    Router,
    /// This is the response. The body is not needed.
    Response(Response<Bytes>),
    /// The body decides. If it is longer than [`MAX_BODY_BYTES`], or does not arrive in one piece
    /// with the head, the router answers the request.
    Body,
}

/// Answers nothing: every request goes to the router.
#[derive(Clone, Copy, Debug)]
pub struct NoDirect;

impl Direct for NoDirect {
    fn by_head(&self, _: &Parts, _: SocketAddr) -> ByHead {
        ByHead::Router
    }

    fn by_body(&self, _: &Parts, _: &[u8]) -> Option<Response<Bytes>> {
        None
    }
}
