//! The door: a TCP port, with limits, and a way to close it.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Requests in flight get this long to finish; SIGTERM to exit takes at most
/// 10 s.
const DRAIN: Duration = Duration::from_secs(8);
/// A caller gets this long to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens a port.
///
/// # Errors
/// When it cannot be opened, with what to do about it.
pub async fn bind(host: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((host, port)).await.with_context(|| {
        format!(
            "cannot listen on {host}:{port}; is another service using the port? Choose one with PORT"
        )
    })
}

/// Serves `router` until `shutdown` is cancelled. Handlers find the caller's
/// address as `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    open_many_files();
    let handle = Handle::new();
    let drain = tokio::spawn({
        let handle = handle.clone();
        async move {
            shutdown.cancelled().await;
            tell_supervisor(NotifyState::Stopping);
            tracing::info!("stopping: finishing the requests in flight");
            handle.graceful_shutdown(Some(DRAIN));
        }
    });
    // The port has been open since `bind`; what connects now is answered.
    tell_supervisor(NotifyState::Ready);
    let mut server = axum_server::from_tcp(listener.into_std()?)?.handle(handle);
    // What is before us speaks HTTP/1.1 to services. A connection that sends
    // nothing at all is not ended by this time-out, which begins with a byte.
    let builder = server.http_builder();
    *builder = builder.clone().http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    let served = server
        .serve(router.into_make_service_with_connect_info::<SocketAddr>())
        .await;
    drain.abort();
    served.context("the listener failed")
}

/// A connection is an open file, and the usual limit of 1,024 is there for
/// programs that know no more (`select(2)`). As many as are allowed is what a
/// service wants.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, ?limit, "no more files can be opened than usual");
    }
}

/// Tells systemd, where it has started us (`sd_notify(3)`).
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor of this process could not be told");
    }
}

/// Logs a panic that ended a request.
pub fn log_panic(panic: &(dyn Any + Send)) {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(what, "a request ended in a panic");
}
