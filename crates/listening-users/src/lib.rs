//! Determines which users' programs listen on an address of this machine (proc(5), `net/tcp`).
//!
//! While the License Client is not running, any user can listen on its port. Its commands and the
//! gates of gateways therefore send a secret to an address of this machine only if a user who may
//! know it is listening there. Linux only.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use url::Url;

/// The directory in which packages keep the License Client's state.
pub const PACKAGED_STATE_DIR: &str = "/var/lib/license-client";
/// The tables of listening sockets, by protocol version. `/proc/net` is a link to `/proc/self/net`
/// that is missing where `/proc` is mounted with `subset=pid` (systemd's `ProcSubset=pid`).
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// State of a listening socket (`TCP_LISTEN` of the kernel).
const LISTENS: &str = "0A";

/// Why a secret is not sent.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// No program is listening.
    #[error("no License Client is listening on {0}; start it with 'license-client serve'")]
    NoListener(SocketAddr),
    /// Something responds, but no program of this machine is known to listen.
    #[error(
        "something responds at {0}, but not a program that this machine knows: the port leads \
         elsewhere, such as into a container. No secret was sent. Run the command where the \
         service runs, or use its https address"
    )]
    Redirected(SocketAddr),
    /// A program of another user is listening.
    #[error(
        "a program is listening on {address}, but its user (id {user}) neither runs this command \
         nor owns STATE_DIR: no secret was sent. Stop that program; or, if it is the License \
         Client, set STATE_DIR to the absolute path of its directory, or run this command as its \
         user"
    )]
    Foreign {
        /// The address.
        address: SocketAddr,
        /// The user id of the listener.
        user: u32,
    },
    /// The system does not report who is listening.
    #[error(
        "cannot determine which user is listening on {address}: cannot read {table}: {error}. No \
         secret was sent. /proc is restricted or not mounted; mount it ('mount -t proc proc /proc') \
         or run the program where it is mounted"
    )]
    Unknown {
        /// The address.
        address: SocketAddr,
        /// The file that cannot be read.
        table: &'static str,
        /// The cause.
        error: std::io::Error,
    },
}

/// Whether an address is one of this machine.
fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

/// Whether a request to this address reveals a secret to the program that listens there: a user
/// name, which may be a token, a password or a query. With https, the certificate proves the
/// identity of the program.
#[must_use]
pub fn sends_secret(url: &Url) -> bool {
    let has_secret =
        !url.username().is_empty() || url.password().is_some() || url.query().is_some();
    has_secret && url.scheme() == "http"
}

/// Users that may receive the secrets of the service: root, the user who runs this program, and the
/// owner of each of these directories. [`unread_owner`] says whether an owner is not known.
pub fn trusted_users<'a>(directories: impl IntoIterator<Item = &'a Path>) -> BTreeSet<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let owners = directories.into_iter().filter_map(|it| {
        let metadata = std::fs::metadata(it).ok()?;
        metadata.is_dir().then(|| metadata.uid())
    });
    [0, rustix::process::geteuid().as_raw()]
        .into_iter()
        .chain(owners)
        .collect()
}

/// The first of these directories whose owner this user may not read, which [`trusted_users`] leaves
/// out. A directory that does not exist has no owner.
pub fn unread_owner<'a>(
    directories: impl IntoIterator<Item = &'a Path>,
) -> Option<(&'a Path, std::io::Error)> {
    directories.into_iter().find_map(|directory| {
        let error = std::fs::metadata(directory).err()?;
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        (!is_missing).then_some((directory, error))
    })
}

/// The first of the addresses of a name that belongs to this machine and on which only `trusted`
/// users listen. Connect only to this address. `None` if no address belongs to this machine.
///
/// # Errors
/// If no address of this machine is safe; if there are several reasons, the one that names a user.
pub fn first_trusted(
    addresses: impl IntoIterator<Item = SocketAddr>,
    trusted: &BTreeSet<u32>,
) -> Result<Option<SocketAddr>, ListenerError> {
    let local = addresses.into_iter().filter(|it| is_local(it.ip()));
    let mut refusal = None;
    for address in local {
        match check(address, trusted) {
            Ok(()) => return Ok(Some(address)),
            Err(_) if matches!(refusal, Some(ListenerError::Foreign { .. })) => {}
            Err(error) => refusal = Some(error),
        }
    }
    refusal.map_or(Ok(None), Err)
}

/// Checks that only `trusted` users listen on an address of this machine.
///
/// # Errors
/// One [`ListenerError`] for each reason.
fn check(address: SocketAddr, trusted: &BTreeSet<u32>) -> Result<(), ListenerError> {
    let mut tables = Vec::new();
    for table in TABLES {
        match std::fs::read_to_string(table) {
            Ok(text) => tables.push(text),
            // A machine without IPv6 has no such table.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !tables.is_empty() => {}
            Err(error) => {
                return Err(ListenerError::Unknown {
                    address,
                    table,
                    error,
                });
            }
        }
    }
    let mut users = BTreeSet::new();
    for line in tables.iter().flat_map(|table| table.lines().skip(1)) {
        users.extend(listening_user(line, address));
    }
    match users.iter().find(|user| !trusted.contains(user)) {
        Some(user) => Err(ListenerError::Foreign {
            address,
            user: *user,
        }),
        None if users.is_empty() => Err(match responds(address) {
            true => ListenerError::Redirected(address),
            false => ListenerError::NoListener(address),
        }),
        None => Ok(()),
    }
}

/// Whether a connection to an address of this machine is accepted. Nothing is sent. Without a listener,
/// the system may happen to choose the port as the connection's own, and connect it to itself.
fn responds(address: SocketAddr) -> bool {
    let connected = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    connected.is_ok_and(|stream| stream.local_addr().is_ok_and(|own| own != address))
}

/// The user of a line of the table, if its socket accepts connections to `address`.
fn listening_user(line: &str, address: SocketAddr) -> Option<u32> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
    let &[_, local, _, state, _, _, _, user] = fields.as_slice() else {
        return None;
    };
    let (ip, port) = local.split_once(':')?;
    let ip = ip_address(ip)?.to_canonical();
    let wanted = address.ip().to_canonical();
    // An IPv6 socket that listens on all addresses also accepts IPv4 connections. A connection to
    // the unspecified address goes to an address that the kernel chooses.
    let takes = ip == wanted
        || wanted.is_unspecified()
        || ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        || ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && wanted.is_ipv4();
    let is_listening = state == LISTENS && u16::from_str_radix(port, 16) == Ok(address.port());
    (is_listening && takes).then(|| user.parse().ok()).flatten()
}

/// An address in the kernel's notation: 32-bit words in the byte order of this machine.
fn ip_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(8 * at..8 * at + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match text.len() {
        8 => word(0).map(IpAddr::from),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(bytes.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn line(ip: &str, port: u16, state: &str, user: u32) -> String {
        let ip: String = match ip.parse().unwrap() {
            IpAddr::V4(ip) => format!("{:08X}", u32::from_ne_bytes(ip.octets())),
            IpAddr::V6(ip) => {
                let octets = ip.octets();
                let words = octets.chunks_exact(4);
                words
                    .map(|it| format!("{:08X}", u32::from_ne_bytes(it.try_into().unwrap())))
                    .collect()
            }
        };
        format!(
            "   0: {ip}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {user:5}        0 12345 1 0000000000000000 100 0 0 10 0"
        )
    }

    #[test]
    fn the_users_that_take_a_connection_are_found() {
        let user = |ip: &str, port, state: &str, address: &str| {
            listening_user(&line(ip, port, state, 65_534), address.parse().unwrap())
        };
        for ip in ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
            let found = user(ip, 8000, "0A", "127.0.0.1:8000");
            assert_eq!(found, Some(65_534), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "127.0.0.2",
            "0.0.0.0",
            "::1",
            "::",
            "192.0.2.1",
        ] {
            for address in ["0.0.0.0:8000", "[::]:8000", "[::ffff:0.0.0.0]:8000"] {
                assert_eq!(
                    user(ip, 8000, "0A", address),
                    Some(65_534),
                    "{ip} {address}"
                );
                assert_eq!(user(ip, 8001, "0A", address), None, "{ip} {address}");
            }
        }
        for ip in ["::1", "::"] {
            assert_eq!(user(ip, 8000, "0A", "[::1]:8000"), Some(65_534), "{ip}");
        }
        for (ip, port, state, address) in [
            ("127.0.0.2", 8000, "0A", "127.0.0.1:8000"),
            ("127.0.0.1", 8001, "0A", "127.0.0.1:8000"),
            ("127.0.0.1", 8000, "01", "127.0.0.1:8000"),
            ("0.0.0.0", 8000, "0A", "[::1]:8000"),
            ("::1", 8000, "0A", "127.0.0.1:8000"),
        ] {
            assert_eq!(user(ip, port, state, address), None, "{ip} {address}");
        }
        let address = "127.0.0.1:1".parse().unwrap();
        for odd in [
            "",
            "a b c",
            "0: x:y 0 0A 0 0 0 0",
            "0: 0100007F 0 0A 0 0 0 0",
        ] {
            assert_eq!(listening_user(odd, address), None, "{odd}");
        }
    }

    #[test]
    fn any_user_info_or_query_of_an_address_without_tls_is_a_secret() {
        for (url, shows) in [
            ("http://token@h", true),
            ("http://:hunter2@h", true),
            ("http://me:hunter2@h", true),
            ("http://h/api?key=hunter2", true),
            ("http://h/api", false),
            ("http://@h/api", false),
            ("https://me:hunter2@h", false),
        ] {
            assert_eq!(sends_secret(&url.parse().unwrap()), shows, "{url}");
        }
    }

    #[test]
    fn a_secret_is_for_our_own_listener_alone() {
        for host in ["127.0.0.1", "0.0.0.0"] {
            let listener = TcpListener::bind((host, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let ours = trusted_users([]);
            // Where an address has no listener, another one may have it.
            let unused = SocketAddr::from(([127, 0, 0, 2], 1));
            let found = first_trusted([unused, address], &ours).unwrap();
            assert_eq!(found, Some(address));
            let elsewhere = "192.0.2.1:80".parse().unwrap();
            assert_eq!(first_trusted([elsewhere], &ours).unwrap(), None);
            let me = rustix::process::geteuid().as_raw();
            let others = BTreeSet::from([me + 1]);
            let refused = first_trusted([address, unused], &others);
            assert!(
                matches!(refused, Err(ListenerError::Foreign { user, .. }) if user == me),
                "{refused:?}"
            );
            drop(listener);
            let none = first_trusted([address], &ours);
            assert!(
                matches!(none, Err(ListenerError::NoListener(_))),
                "{none:?}"
            );
        }
    }

    /// Runs a test of this program where `/proc` is mounted in this way, or says why it cannot.
    fn runs_with_proc(test: &str, mount: &str) -> Option<std::process::Output> {
        let script =
            format!("{mount} || exit 77; exec \"$0\" --exact --ignored --nocapture {test}");
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--pid", "--fork"])
            .args(["sh", "-c", &script])
            .arg(program)
            .output();
        match output {
            Ok(output) if output.status.code() != Some(77) && ran(&output) => Some(output),
            other => {
                eprintln!("SKIPPED: cannot mount /proc in a namespace: {other:?}");
                None
            }
        }
    }

    fn ran(output: &std::process::Output) -> bool {
        String::from_utf8_lossy(&output.stdout).contains("running 1 test")
    }

    #[test]
    fn the_users_are_known_where_proc_shows_only_processes() {
        let test = "tests::in_a_namespace_our_own_listener_is_found";
        if let Some(output) = runs_with_proc(test, "mount -t proc -o subset=pid proc /proc") {
            assert!(output.status.success(), "{output:?}");
        }
    }

    #[test]
    fn where_proc_is_not_mounted_the_error_says_so() {
        let test = "tests::in_a_namespace_the_error_names_the_table";
        if let Some(output) = runs_with_proc(test, "mount -t tmpfs tmpfs /proc") {
            assert!(output.status.success(), "{output:?}");
        }
    }

    #[test]
    #[ignore = "run by another test, in a namespace"]
    fn in_a_namespace_our_own_listener_is_found() {
        assert!(!Path::new("/proc/net").exists());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = first_trusted([address], &trusted_users([])).unwrap();
        assert_eq!(found, Some(address));
    }

    #[test]
    #[ignore = "run by another test, in a namespace"]
    fn in_a_namespace_the_error_names_the_table() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = first_trusted([address], &trusted_users([])).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot determine which user is listening on {address}: cannot read \
                 /proc/self/net/tcp: No such file or directory (os error 2). No secret was sent. \
                 /proc is restricted or not mounted; mount it ('mount -t proc proc /proc') or run \
                 the program where it is mounted"
            )
        );
    }
}
