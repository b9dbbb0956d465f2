//! Which address of a PostgreSQL server is connected to, if its name has several.
//!
//! The library tries the addresses of a name in order, and waits for each as long as the system
//! does (`sqlx-core` 0.9.0, `connect_tcp`): for minutes, if an address is silent. So they are
//! tried here first, all at the same time. The library gets the name if no address is silent, and
//! otherwise the address that accepted a connection first. With an address instead of the name,
//! TLS connections do not name the host (SNI), and `sslmode=verify-full` would compare the
//! certificate with the address: then the library always gets the name.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sqlx::Error;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::ticks;

/// How long an address may take to accept a connection: less than the check for `/readyz`, which
/// is to name the addresses, and more than the second after which a lost packet is sent again.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// An address that accepts a connection so much later than another one is silent.
const MAX_DELAY: Duration = Duration::from_millis(250);

/// The options with the address to connect to, if the name must not be used.
///
/// # Errors
/// If the name is unknown. If no address accepts a connection and one is silent, with the result
/// for each.
pub(super) async fn choose(options: &PgConnectOptions) -> Result<PgConnectOptions, Error> {
    let (host, port) = (options.get_host(), options.get_port());
    let is_fixed = options.get_socket().is_some()
        || host.starts_with('/')
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
    if is_fixed {
        return Ok(options.clone());
    }
    let mut addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    addresses.dedup();
    if addresses.len() < 2 {
        return Ok(options.clone());
    }
    Ok(match unless_all_answer(host, &addresses).await? {
        Some(address) => options.clone().host(&address.ip().to_string()),
        None => options.clone(),
    })
}

/// The first address that accepts a connection; `None` if all of them answer in time, even with
/// a refusal.
async fn unless_all_answer(
    host: &str,
    addresses: &[SocketAddr],
) -> Result<Option<SocketAddr>, Error> {
    let mut connecting: FuturesUnordered<_> = addresses
        .iter()
        .map(|&address| async move {
            let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            (address, connected)
        })
        .collect();
    let mut first: Option<(SocketAddr, Instant)> = None;
    let mut failures = String::new();
    let mut is_any_silent = false;
    loop {
        let next = match first {
            None => connecting.next().await,
            Some((address, deadline)) => tokio::select! {
                biased;
                next = connecting.next() => next,
                () = sleep_until(deadline) => return Ok(Some(address)),
            },
        };
        let (address, failure) = match next {
            None => break,
            Some((address, Ok(Ok(_)))) => {
                first = first.or(Some((address, ticks() + MAX_DELAY)));
                continue;
            }
            Some((address, Ok(Err(error)))) => (address, error.to_string()),
            Some((address, Err(_))) => {
                is_any_silent = true;
                let seconds = CONNECT_TIMEOUT.as_secs_f64();
                (address, format!("no answer within {seconds} s"))
            }
        };
        // Writing to a String cannot fail.
        let _ = write!(failures, "; {address}: {failure}");
    }
    if first.is_none() && is_any_silent {
        let failures = failures.trim_start_matches("; ");
        let text = format!("cannot connect to any address of {host}: {failures}");
        return Err(io::Error::new(io::ErrorKind::TimedOut, text).into());
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// An address that answers no one: its queue of new connections is full.
    async fn silent(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(connected) = timeout(MAX_DELAY, TcpStream::connect(address)).await {
            queue.push(connected.unwrap());
        }
        (listener, queue)
    }

    fn loopback(last: u8, port: u16) -> SocketAddr {
        ([127, 0, 0, last], port).into()
    }

    #[tokio::test]
    async fn a_silent_address_is_left_out_and_answers_keep_the_name() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = open.local_addr().map(|it| (open, it)).unwrap();
        let port = open.1.port();
        let (_queue, refusing) = (silent(loopback(2, port)).await, loopback(3, port));
        let silent = loopback(2, port);
        for (addresses, chosen) in [
            ([silent, open.1], Some(open.1)),
            ([open.1, silent], Some(open.1)),
            ([refusing, open.1], None),
            ([refusing, loopback(4, port)], None),
        ] {
            let began = ticks();
            let found = unless_all_answer("db", &addresses).await.unwrap();
            assert_eq!(found, chosen, "{addresses:?}");
            assert!(ticks() - began < CONNECT_TIMEOUT, "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn every_address_is_named_if_none_accepts_a_connection() {
        let (listener, _queue) = silent(loopback(2, 0)).await;
        let silent = listener.local_addr().unwrap();
        let refusing = loopback(3, silent.port());
        let error = unless_all_answer("db", &[silent, refusing]).await;
        let error = error.unwrap_err().to_string();
        for part in [
            "address of db: ".to_owned(),
            format!("{silent}: no answer within 1.5 s"),
            format!("{refusing}: Connection refused"),
        ] {
            assert!(error.contains(&part), "{error}");
        }
    }

    #[tokio::test]
    async fn a_name_that_the_certificate_must_have_is_kept() {
        let options = PgConnectOptions::new_without_pgpass()
            .host("name.invalid")
            .ssl_mode(PgSslMode::VerifyFull);
        let chosen = choose(&options).await.unwrap();
        assert_eq!(chosen.get_host(), "name.invalid");
        choose(&options.ssl_mode(PgSslMode::Prefer))
            .await
            .unwrap_err();
    }
}
