//! A user of the machine occupies what it can; a gateway on the same machine gets through.

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::program::Program;
use crate::raw_http::{connect, exchange, read_head};

const SUBSCRIBE: &[u8] = b"GET /api/license/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
const SLOW: &[u8] = b"POST /api/license/feature/check HTTP/1.1\r\nhost: localhost\r\n\
    content-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
const QUESTION: &[u8] = b"GET /api/license/authorize?feature=module.live_view HTTP/1.1\r\n\
    host: localhost\r\nconnection: close\r\n\r\n";

/// Where a proxy is trusted, every user of its machine can invent addresses.
fn subscribe_as(client: &str) -> Vec<u8> {
    format!(
        "GET /api/license/events HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {client}\r\n\r\n"
    )
    .into_bytes()
}

/// Every user may use every address of 127.0.0.0/8.
async fn connect_from(number: u8, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 10, 0, number], 0).into()).unwrap();
    socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_program_of_the_machine_keeps_its_gateway_out() {
    for (networks, requests) in [
        ("loopback", [SLOW, SLOW]),
        ("loopback", [SUBSCRIBE, SUBSCRIBE]),
        ("loopback", [SUBSCRIBE, SLOW]),
        ("none", [SLOW, SLOW]),
        ("none", [SUBSCRIBE, SUBSCRIBE]),
        ("none", [SUBSCRIBE, SLOW]),
    ] {
        let flags = ["--max-connections", "64", "--trusted-networks", networks];
        let program = Program::start(&flags).await;
        let mut held = Vec::new();
        for number in 0..200 {
            let mut stream = connect_from(number, program.port).await;
            // It may be refused.
            let _ = stream.write_all(requests[usize::from(number % 2)]).await;
            held.push(stream);
        }
        let url = program.url("");
        let mut answered = 0;
        for _ in 0..15 {
            let answer = exchange(&url, QUESTION).await;
            answered += usize::from(answer.starts_with("HTTP/1.1 200"));
        }
        assert_eq!(answered, 15, "{networks}");
        let mut gate = connect(&url).await;
        gate.write_all(SUBSCRIBE).await.unwrap();
        let head = read_head(&mut gate).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{networks}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_addresses_take_no_event_streams_for_good() {
    let flags = [
        "--max-connections",
        "128",
        "--trusted-networks",
        "none",
        "--trusted-proxies",
        "1",
    ];
    let program = Program::start(&flags).await;
    let url = program.url("");
    let mut held = Vec::new();
    let mut subscribe = async |request: &[u8]| {
        let mut stream = connect(&url).await;
        stream.write_all(request).await.unwrap();
        let head = read_head(&mut stream).await;
        held.push(stream);
        head
    };
    for number in 0..64 {
        let head = subscribe(&subscribe_as(&format!("11.0.{number}.1"))).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{number}: {head}");
    }
    for request in [
        SUBSCRIBE,
        SUBSCRIBE,
        SUBSCRIBE,
        &subscribe_as("198.51.100.7"),
    ] {
        let head = subscribe(request).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
}
