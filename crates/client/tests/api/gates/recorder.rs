//! A service that records requests as they are written: what a gateway asks, and what it
//! passes on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};

/// Records the heads of requests, answers each alike, and upgrades to `WebSocket`.
pub struct Recorder {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// `answer` is a whole answer of HTTP/1.1 for each head.
    pub async fn start(answer: fn(&str) -> &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let recorded = heads.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, recorded.clone(), answer));
            }
        });
        Self { address, heads }
    }

    /// The heads in lower case, and forgets them.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().unwrap())
    }
}

async fn serve(
    connection: TcpStream,
    heads: Arc<Mutex<Vec<String>>>,
    answer: fn(&str) -> &'static str,
) {
    let mut connection = BufStream::new(connection);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = connection.read_u8().await else {
                return;
            };
            head.push(byte);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let is_websocket = head.contains("\r\nupgrade: websocket\r\n");
        let answer = answer(&head);
        let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
            rest.split_once("\r\n").unwrap().0.parse().unwrap()
        });
        heads.lock().unwrap().push(head);
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await.unwrap();
        if is_websocket {
            // The answer to the key of RFC 6455, section 1.3.
            let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            connection.write_all(switched.as_bytes()).await.unwrap();
            connection.flush().await.unwrap();
            let (mut from, mut to) = connection.into_inner().into_split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
            return;
        }
        connection.write_all(answer.as_bytes()).await.unwrap();
        connection.flush().await.unwrap();
        // The License Client closes connections when it is asked to.
        if answer.contains("Connection: close") {
            return;
        }
    }
}

/// A License Client that refuses paths with `/alarms`. It closes each connection.
pub async fn license_client() -> Recorder {
    Recorder::start(|head| {
        if head.contains(": /alarms") {
            "HTTP/1.1 403 Forbidden\r\nX-License-Reason: not_in_license\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        } else {
            "HTTP/1.1 204 No Content\r\nX-License-Reason: licensed\r\nConnection: close\r\n\r\n"
        }
    })
    .await
}

/// What is behind the gateway.
pub async fn service() -> Recorder {
    Recorder::start(|_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await
}

/// A gateway asks with what the question needs, and nothing else of the visitor's; and a
/// WebSocket passes after permission. Both recorders are new.
pub async fn asks_only_what_it_needs(gateway: &str, license_client: &Recorder, service: &Recorder) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let form = http
        .post(format!("{gateway}/live/1?a=b"))
        .header("cookie", "session=secret")
        .bearer_auth("secret")
        .header("x-original-method", "GET")
        .header("x-original-method", "GET")
        .header("x-original-uri", "/map/1")
        .body("a secret form");
    assert_eq!(form.send().await.unwrap().status(), 200);
    let questions = license_client.take();
    let [question] = questions.as_slice() else {
        panic!("{questions:?}");
    };
    assert!(
        question.starts_with("get /api/license/authorize?unreadable=400 http/1.1\r\n"),
        "{question}"
    );
    for expected in ["x-original-uri: /live/1?a=b", "x-original-method: post"] {
        let name = expected.split_once(':').unwrap().0;
        assert!(
            question.contains(&format!("\r\n{expected}\r\n")),
            "{question}"
        );
        assert_eq!(question.matches(name).count(), 1, "{question}");
    }
    for unwanted in ["secret", "content-length", "transfer-encoding", "cookie"] {
        assert!(!question.contains(unwanted), "{unwanted}: {question}");
    }
    let passed = service.take().concat();
    assert!(passed.starts_with("post /live/1?a=b "), "{passed}");
    assert!(!passed.contains("x-original-"), "{passed}");

    let head = http.head(format!("{gateway}/live/1")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    let question = license_client.take().concat();
    assert!(
        question.contains("\r\nx-original-method: head\r\n"),
        "{question}"
    );
    service.take();

    let refused = websocket(gateway, "/alarms/1").await.1;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert_eq!(service.take(), [""; 0]);
    license_client.take();
    let (mut socket, answer) = websocket(gateway, "/live/1").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    for message in ["first", "second"] {
        socket.write_all(message.as_bytes()).await.unwrap();
        let mut echo = vec![0; message.len()];
        socket.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, message.as_bytes());
    }
    assert_eq!(license_client.take().len(), 1);
}

/// Asks for a WebSocket, and answers with the head of the answer.
async fn websocket(gateway: &str, path: &str) -> (TcpStream, String) {
    let address = gateway.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8_lossy(&head).into_owned())
}
