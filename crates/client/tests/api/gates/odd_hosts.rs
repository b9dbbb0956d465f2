//! Hosts that a service may read as the beginning of the path, if it joins both to a URL.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::requests::{exchange, sent_headers};

/// With the path `/health/1`, all of these lead elsewhere in the URL of one service or another.
const ODD: [&str; 24] = [
    "",
    ":",
    ":80",
    ".",
    "..",
    "..:80",
    "x:",
    "x:y",
    "x:80:80",
    "[]",
    "[x]",
    "[::1",
    "x@y",
    "x,y",
    r"x\alarms\1?",
    r"localhost:1\alarms\1?",
    r"[::1]\alarms\1?",
    r"[::1\alarms\1?]",
    "x/alarms/1?",
    "x:80/alarms/1?",
    "x?",
    "x:80?",
    "x#",
    "x:80#",
];
const HONEST: [&str; 11] = [
    "vms.example.",
    "_vms",
    "localhost",
    "vms.example",
    "VMS.example:8443",
    "cam_1.vms-2.example:80",
    "192.0.2.1",
    "192.0.2.1:8080",
    "[2001:db8::1]",
    "[::1]:8443",
    "xn--mller-kva.example",
];

/// What our service answers.
const PASSED: &str = r#""path":"/health/1""#;

/// Frames of HTTP/2 (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub(super) async fn are_refused(name: &str, gateway: &str) {
    let send = async |host: &str| {
        let request =
            format!("GET /health/1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        exchange(gateway, request.as_bytes()).await
    };
    // Together, because gateways close the connection of an invalid request late.
    let answers = join_all(ODD.map(send)).await;
    for (host, answer) in ODD.iter().zip(answers) {
        assert_eq!(answer.get(9..12), Some("400"), "{name}, {host}: {answer}");
    }
    is_known_in_http_1_0(name, gateway).await;
    for host in HONEST {
        let answer = send(host).await;
        assert!(answer.contains(PASSED), "{name}, {host}: {answer}");
    }
}

/// In HTTP/1.0, a request may have no host, and some gateways take an empty one for that: the service
/// does not get an empty one.
async fn is_known_in_http_1_0(name: &str, gateway: &str) {
    for odd in [":80", ".", r"x\alarms\1?"] {
        let request = format!("GET /health/1 HTTP/1.0\r\nHost: {odd}\r\n\r\n");
        let answer = exchange(gateway, request.as_bytes()).await;
        assert_eq!(answer.get(9..12), Some("400"), "{name}, {odd}: {answer}");
    }
    for request in [
        "GET /health/1 HTTP/1.0\r\nHost:\r\n\r\n",
        "GET /health/1 HTTP/1.0\r\n\r\n",
    ] {
        let answer = exchange(gateway, request.as_bytes()).await;
        if answer.get(9..12) == Some("400") {
            continue;
        }
        let seen = sent_headers(&answer);
        for header in ["host", "x-forwarded-host"] {
            assert_ne!(seen.get(header), Some(&"".into()), "{name}: {answer}");
        }
    }
}

/// The same in HTTP/2 without TLS.
pub(super) async fn are_refused_over_http_2(name: &str, gateway: &str) {
    for host in ODD {
        let answer = answer_over_http_2(gateway, host).await;
        // HAProxy removes a default or empty port, also if it is the second one.
        let is_without_port = |body: &str| {
            let seen = [r#""host":"x""#, r#""host":"x:80""#];
            host.starts_with("x:") && seen.iter().any(|seen| body.contains(seen))
        };
        if matches!(&answer, Some((200, body)) if is_without_port(body)) {
            continue;
        }
        let status = answer.map(|it| it.0);
        // A gateway may also end the stream or the connection; HAProxy itself reads the host as the
        // beginning of the path, and has this path checked.
        let is_refused = matches!(status, None | Some(400 | 403));
        assert!(is_refused, "{name}, {host}: {status:?}");
    }
    for host in HONEST {
        let answer = answer_over_http_2(gateway, host).await;
        let is_passed = matches!(&answer, Some((200, body)) if body.contains(PASSED));
        assert!(is_passed, "{name}, {host}: {answer:?}");
    }
}

/// The status and the body of the answer; `None` without one. HTTP libraries would refuse the
/// host.
async fn answer_over_http_2(gateway: &str, host: &str) -> Option<(u16, String)> {
    let address = gateway.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/health/1"),
        (":authority", host),
    ];
    let literal = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // Literal fields without indexing (RFC 7541, section 6.2.2).
    let block = fields.map(|(name, value)| [vec![0], literal(name), literal(value)].concat());
    let request = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &block.concat()),
    ];
    stream.write_all(&request.concat()).await.unwrap();
    let answer = async {
        let (mut status, mut body) = (0, String::new());
        loop {
            let (kind, flags, content) = read_frame(&mut stream).await?;
            match kind {
                HEADERS => status = status_in(&content),
                DATA => body.push_str(&String::from_utf8_lossy(&content)),
                RST_STREAM | GOAWAY => return None,
                _ => continue,
            }
            if flags & END_STREAM != 0 {
                return Some((status, body));
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
    answer.expect("the gateway answers or ends the stream")
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()];
    [&head.concat(), content].concat()
}

/// The kind, the flags and the content of the next frame; `None` at the end of the connection.
async fn read_frame(stream: &mut tokio::net::TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut content = vec![0; length.try_into().unwrap()];
    stream.read_exact(&mut content).await.ok()?;
    Some((head[3], head[4], content))
}

/// The status at the beginning of a block of fields, after changes of the table's size: the entries
/// of the static table are those of RFC 7541, appendix A.
fn status_in(block: &[u8]) -> u16 {
    let is_resize = |byte: &u8| byte & 0xe0 == 0x20;
    let resizes = block.iter().take_while(|byte| is_resize(byte)).count();
    match &block[resizes..] {
        [0x88, ..] => 200,
        [0x8c, ..] => 400,
        [0x48, 3, b'4', b'0', b'3', ..] => 403,
        other => panic!("{other:?}"),
    }
}
