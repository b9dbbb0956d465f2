//! Requests without authentication.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::Outcome;
use crate::http::request;
use crate::program::now;
use crate::stage::{Stage, UNTRUSTED};

const OPEN: [(&str, &str); 7] = [
    ("/console/diagnostics", ""),
    ("/console/support-file", ""),
    ("/", ""),
    ("/readyz", ""),
    ("/api/license/attempts", ""),
    ("/api/license/hardware", ""),
    ("/api/license/limits/check", r#"{"resource":"cameras"}"#),
];

/// Maximum number of connections that unauthenticated requests may cause.
const MAX_CONNECTIONS: u32 = 12;

/// A database and a License Server that only count connections.
pub(super) fn open_routes(stage: &Stage) -> Result<Outcome> {
    let (database, database_port) = count_connections()?;
    let (vendor, vendor_port) = count_connections()?;
    let mut command = stage.command("license-client", "client");
    command
        .envs(UNTRUSTED.iter().copied())
        .env("LICENSE_API_TIMEOUT", "1")
        .env(
            "LICENSE_API_URL",
            format!("http://127.0.0.1:{vendor_port}/api"),
        )
        .env(
            "DATABASE_URL",
            format!("postgresql://vms-user-name@127.0.0.1:{database_port}/vms"),
        );
    let client = stage.serve(command)?;
    let read = || {
        (
            database.load(Ordering::SeqCst),
            vendor.load(Ordering::SeqCst),
        )
    };
    // Connections without any requests in the same time.
    let pause = Duration::from_secs(2);
    let before = read();
    std::thread::sleep(pause);
    let after = read();
    let own = (after.0 - before.0, after.1 - before.1);

    let rounds = stage.sized(15, 120);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut told = Vec::new();
    let start = now();
    for _ in 0..rounds {
        for (path, body) in OPEN {
            let method = if body.is_empty() { "GET" } else { "POST" };
            let answer = request(client.port, method, path, &[], body)?;
            for secret in [kernel.trim(), "vms-user-name"] {
                if answer.body.contains(secret) && !told.contains(&path) {
                    told.push(path);
                }
            }
        }
    }
    let took = start.elapsed().as_secs_f64() / pause.as_secs_f64();
    let now = read();
    let times = took.ceil() as u32;
    let database = (now.0 - after.0).saturating_sub(own.0 * times);
    let vendor = (now.1 - after.1).saturating_sub(own.1 * times);
    let held = database <= MAX_CONNECTIONS && vendor == 0 && told.is_empty();
    let seen = format!(
        "{} requests: {database} connections to the database, {vendor} calls to the License \
         Server, details exposed by: {told:?}",
        rounds * OPEN.len()
    );
    Ok(Outcome::new(held, seen))
}

/// Listens on a port, closes every connection, and counts them.
fn count_connections() -> Result<(Arc<AtomicU32>, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let count = Arc::new(AtomicU32::new(0));
    let counting = count.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    Ok((count, port))
}
