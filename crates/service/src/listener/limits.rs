//! The bounds of a listener.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::MAX_REFUSED;
use crate::admission::{MAX_LEAVING, Maxima};
use crate::loopback;

/// Number of files that a service opens in addition to its connections.
const OTHER_FILES: usize = 256;

/// The limits of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of open connections. A quarter of them is reserved for `trusted_networks`,
    /// and any other address may use a sixteenth.
    pub max_connections: usize,
    /// Networks of gateways and proxies: one address for many callers. By default, this machine.
    pub trusted_networks: Vec<IpNet>,
    /// Timeout for the head of a request.
    pub head_timeout: Duration,
    /// Timeout for the next request on a connection: longer than any gateway keeps its own end
    /// (nginx 60 s, Envoy an hour), so that no gateway sends a request into a closing connection.
    pub idle_timeout: Duration,
    /// The time within which a caller must read `min_write_bytes` of a response, or everything
    /// there is.
    pub write_timeout: Duration,
    /// In bytes.
    pub min_write_bytes: u64,
    /// Maximum size of a request's head, in bytes.
    pub max_head_bytes: usize,
    /// Bytes for heads longer than 8 KiB, of all connections together; `trusted_networks` have as
    /// many again. Any other address may use a ninth.
    pub large_heads_bytes: usize,
    /// Bytes for HTTP/2 requests until their responses are sent, of all connections together;
    /// `trusted_networks` have as many again. Any other address may use a ninth.
    pub http2_requests_bytes: usize,
    /// Bytes for the parts beyond 16 KiB of responses that are waiting for their callers to read,
    /// of all connections together; `trusted_networks` have as many again.
    pub large_answers_bytes: usize,
    /// Requests in flight get this long to finish when the service stops;
    /// SIGTERM to exit takes at most 10 s.
    pub drain_timeout: Duration,
}

/// Default maximum number of connections.
pub const DEFAULT_MAX_CONNECTIONS: usize = 8192;

/// Parses `MAX_CONNECTIONS`.
///
/// # Errors
/// If the text is not a number from 16 to 1,000,000.
pub fn max_connections(text: &str) -> Result<usize, String> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| (16..=1_000_000).contains(number))
        .ok_or_else(|| "expected a number from 16 to 1000000".to_owned())
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS,
            trusted_networks: loopback::NETWORKS.to_vec(),
            head_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(3630),
            write_timeout: Duration::from_secs(30),
            min_write_bytes: 8 * 1024,
            max_head_bytes: 64 * 1024,
            large_heads_bytes: 8 * 1024 * 1024,
            http2_requests_bytes: 16 * 1024 * 1024,
            large_answers_bytes: 16 * 1024 * 1024,
            drain_timeout: Duration::from_secs(8),
        }
    }
}

impl Limits {
    /// Raises the system's limit on open files as far as allowed, and lowers the number of
    /// connections to what it permits.
    #[must_use]
    pub fn within_open_files(self) -> Self {
        let other_files = OTHER_FILES + MAX_LEAVING + MAX_REFUSED;
        let permitted = max_files().saturating_sub(other_files).max(1);
        if permitted < self.max_connections {
            tracing::warn!(
                connections = permitted,
                configured = self.max_connections,
                "the limit on open files allows fewer connections than MAX_CONNECTIONS; raise \
                 this limit"
            );
        }
        Self {
            max_connections: self.max_connections.min(permitted),
            ..self
        }
    }

    pub(super) fn maxima(&self) -> Maxima {
        let total = self.max_connections.max(1);
        Maxima {
            total,
            reserved: total / 4,
            per_address: (total / 16).max(1),
        }
    }

    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let mut networks = self.trusted_networks.iter();
        networks.any(|network| network.contains(&peer))
    }
}

/// Raises the limit on open files as far as allowed, and returns the new limit. A connection is an
/// open file, and the default limit of 1,024 exists for programs that use `select(2)`.
fn max_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let is_raised = setrlimit(Resource::Nofile, all);
    if let Err(error) = &is_raised {
        tracing::warn!(%error, ?limit, "failed to raise the limit on open files");
    }
    let limit = is_raised.map_or(limit.current, |()| limit.maximum);
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
