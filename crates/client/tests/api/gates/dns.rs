//! A nameserver of one name, and the machine that it names: a container that is
//! not there yet, comes, and comes back with another address.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::AbortHandle;

/// What the nameserver answers when it is asked for an address of IPv6.
#[derive(Clone, Copy)]
pub enum Ipv6 {
    /// One at which nothing listens: the License Client's image listens on IPv4 only.
    Unused,
    /// That it has failed.
    Failure,
}

/// The License Client under a name, through addresses that change.
pub struct NamedMachine {
    /// Where the nameserver is.
    pub nameserver: SocketAddr,
    /// The port of the machine, at every address that it has.
    pub port: u16,
    addresses: Arc<Mutex<Option<(Ipv4Addr, Ipv6)>>>,
    service: SocketAddr,
    relay: Option<AbortHandle>,
}

impl NamedMachine {
    /// A machine that has no address yet, and passes on to `url`.
    pub async fn absent(url: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let nameserver = socket.local_addr().unwrap();
        let addresses: Arc<Mutex<Option<(Ipv4Addr, Ipv6)>>> = Arc::default();
        tokio::spawn(answer_questions(socket, addresses.clone()));
        let probe = TcpListener::bind("127.0.0.2:0").await.unwrap();
        Self {
            nameserver,
            port: probe.local_addr().unwrap().port(),
            addresses,
            service: url.strip_prefix("http://").unwrap().parse().unwrap(),
            relay: None,
        }
    }

    /// It comes up at this address, and is gone from the one before.
    pub async fn moves_to(&mut self, address: [u8; 4], ipv6: Ipv6) {
        if let Some(relay) = self.relay.take() {
            relay.abort();
        }
        let address = Ipv4Addr::from(address);
        let listener = TcpListener::bind((address, self.port)).await.unwrap();
        let service = self.service;
        let relay = tokio::spawn(async move {
            // Its connections end with it.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut visitor, _)) = listener.accept().await {
                connections.spawn(async move {
                    let Ok(mut service) = TcpStream::connect(service).await else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut visitor, &mut service).await;
                });
            }
        });
        self.relay = Some(relay.abort_handle());
        *self.addresses.lock().unwrap() = Some((address, ipv6));
    }
}

impl Drop for NamedMachine {
    fn drop(&mut self) {
        if let Some(relay) = &self.relay {
            relay.abort();
        }
    }
}

/// RFC 1035, section 4.1, and RFC 3596: every name has these addresses, or does not exist.
async fn answer_questions(socket: UdpSocket, addresses: Arc<Mutex<Option<(Ipv4Addr, Ipv6)>>>) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let question = &buffer[..length];
        // The name ends with an empty label; its type and class follow.
        let Some(end) = question[12..].iter().position(|byte| *byte == 0) else {
            continue;
        };
        let asked = &question[12..12 + end + 5];
        let kind = asked[end + 2];
        let addresses = *addresses.lock().unwrap();
        let (code, found) = match (addresses, kind) {
            (None, _) => (3, Vec::new()),
            (Some((address, _)), 1) => (0, address.octets().to_vec()),
            (Some((_, Ipv6::Unused)), 28) => (0, Ipv6Addr::LOCALHOST.octets().to_vec()),
            (Some((_, Ipv6::Failure)), 28) => (2, Vec::new()),
            (Some(_), _) => (0, Vec::new()),
        };
        let mut reply = question[..2].to_vec();
        let answers = u8::from(!found.is_empty());
        reply.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
        reply.extend(asked);
        if let Ok(length @ 1..) = u8::try_from(found.len()) {
            // A pointer to the name, its type, class IN, a second to live, and the length.
            reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1, 0, length]);
            reply.extend(found);
        }
        socket.send_to(&reply, from).await.unwrap();
    }
}
