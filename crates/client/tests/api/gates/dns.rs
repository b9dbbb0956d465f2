//! A nameserver of one name, and the machine that it names: a container that is
//! not there yet, comes, and comes back with another address.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::AbortHandle;

/// The License Client under a name, through addresses that change.
pub struct NamedMachine {
    /// Where the nameserver is.
    pub nameserver: SocketAddr,
    /// The port of the machine, at every address that it has.
    pub port: u16,
    address: Arc<Mutex<Option<Ipv4Addr>>>,
    service: SocketAddr,
    relay: Option<AbortHandle>,
}

impl NamedMachine {
    /// A machine that has no address yet, and passes on to `url`.
    pub async fn absent(url: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let nameserver = socket.local_addr().unwrap();
        let address: Arc<Mutex<Option<Ipv4Addr>>> = Arc::default();
        tokio::spawn(answer_questions(socket, address.clone()));
        let probe = TcpListener::bind("127.0.0.2:0").await.unwrap();
        Self {
            nameserver,
            port: probe.local_addr().unwrap().port(),
            address,
            service: url.strip_prefix("http://").unwrap().parse().unwrap(),
            relay: None,
        }
    }

    /// It comes up at this address, and is gone from the one before.
    pub async fn moves_to(&mut self, address: [u8; 4]) {
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
        *self.address.lock().unwrap() = Some(address);
    }
}

impl Drop for NamedMachine {
    fn drop(&mut self) {
        if let Some(relay) = &self.relay {
            relay.abort();
        }
    }
}

/// RFC 1035, section 4.1: every name has this address, or does not exist.
async fn answer_questions(socket: UdpSocket, address: Arc<Mutex<Option<Ipv4Addr>>>) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let question = &buffer[..length];
        // The name ends with an empty label; its type and class follow.
        let Some(end) = question[12..].iter().position(|byte| *byte == 0) else {
            continue;
        };
        let asked = &question[12..12 + end + 5];
        let is_a = asked[end + 1..end + 3] == [0, 1];
        let address = *address.lock().unwrap();
        let (code, answers) = match address {
            None => (3, 0),
            Some(_) => (0, u8::from(is_a)),
        };
        let mut reply = question[..2].to_vec();
        reply.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
        reply.extend(asked);
        if let Some(address) = address.filter(|_| is_a) {
            // A pointer to the name, type A, class IN, a second to live, 4 bytes.
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            reply.extend(address.octets());
        }
        socket.send_to(&reply, from).await.unwrap();
    }
}
