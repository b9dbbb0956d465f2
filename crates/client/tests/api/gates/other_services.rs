//! Services to which nginx speaks `FastCGI`, SCGI, uwsgi or gRPC. Each tells the headers that it has
//! received. For a path with `own-error`, it refuses the request itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How nginx calls such a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    FastCgi,
    Scgi,
    Uwsgi,
    Grpc,
}

impl Protocol {
    pub(super) const ALL: [Self; 4] = [Self::FastCgi, Self::Scgi, Self::Uwsgi, Self::Grpc];

    /// The beginning of the names of nginx's directives.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FastCgi => "fastcgi",
            Self::Scgi => "scgi",
            Self::Uwsgi => "uwsgi",
            Self::Grpc => "grpc",
        }
    }

    /// The directives of a location that pass requests to the service.
    pub(super) fn pass(self, service: SocketAddr) -> String {
        let name = self.name();
        match self {
            Self::Grpc => format!("grpc_pass grpc://{service};"),
            _ => format!("{name}_param REQUEST_URI $request_uri; {name}_pass {service};"),
        }
    }

    /// Starts the service.
    pub(super) async fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // nginx may close a connection at any time.
                tokio::spawn(async move { self.serve(stream).await.ok() });
            }
        });
        address
    }

    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        let answer = match self {
            Self::FastCgi => fast_cgi_records(&answer(&fast_cgi(&mut stream).await?)),
            Self::Scgi => answer(&scgi(&mut stream).await?).into_bytes(),
            Self::Uwsgi => answer(&uwsgi(&mut stream).await?).into_bytes(),
            Self::Grpc => return grpc(stream).await,
        };
        stream.write_all(&answer).await?;
        stream.shutdown().await
    }
}

type Variables = BTreeMap<String, String>;

/// The response of a CGI program.
fn answer(variables: &Variables) -> String {
    let headers: BTreeMap<_, _> = variables
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("HTTP_")?, value)))
        .map(|(name, value)| (name.to_lowercase().replace('_', "-"), value))
        .collect();
    let status = status(&variables["REQUEST_URI"]);
    let body = json!({"headers": headers});
    format!("Status: {status} Told\r\nContent-Type: application/json\r\n\r\n{body}")
}

fn status(path: &str) -> u16 {
    match path.contains("own-error") {
        true => 403,
        false => 200,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn fast_cgi(stream: &mut TcpStream) -> std::io::Result<Variables> {
    const PARAMS: u8 = 4;
    const STDIN: u8 = 5;
    let mut pairs = Vec::new();
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let mut content = vec![0; length + usize::from(head[6])];
        stream.read_exact(&mut content).await?;
        match head[1] {
            PARAMS => pairs.extend_from_slice(&content[..length]),
            STDIN if length == 0 => break,
            _ => {}
        }
    }
    let mut rest = &pairs[..];
    let mut variables = Variables::new();
    while !rest.is_empty() {
        let name = fast_cgi_length(&mut rest);
        let value = fast_cgi_length(&mut rest);
        let (pair, after) = rest.split_at(name + value);
        variables.insert(text(&pair[..name]), text(&pair[name..]));
        rest = after;
    }
    Ok(variables)
}

fn fast_cgi_length(rest: &mut &[u8]) -> usize {
    let (length, size) = match rest[0] {
        short if short < 128 => (u32::from(short), 1),
        long => (
            u32::from_be_bytes([long & 127, rest[1], rest[2], rest[3]]),
            4,
        ),
    };
    *rest = &rest[size..];
    usize::try_from(length).unwrap()
}

fn fast_cgi_records(answer: &str) -> Vec<u8> {
    const END_REQUEST: u8 = 3;
    const STDOUT: u8 = 6;
    let mut records = Vec::new();
    for (kind, content) in [
        (STDOUT, answer.as_bytes()),
        (STDOUT, &[]),
        (END_REQUEST, &[0; 8]),
    ] {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        records.extend_from_slice(&[1, kind, 0, 1, high, low, 0, 0]);
        records.extend_from_slice(content);
    }
    records
}

async fn scgi(stream: &mut TcpStream) -> std::io::Result<Variables> {
    let mut length = String::new();
    loop {
        match stream.read_u8().await? {
            b':' => break,
            digit => length.push(char::from(digit)),
        }
    }
    // A comma follows the variables.
    let mut content = vec![0; length.parse::<usize>().unwrap() + 1];
    stream.read_exact(&mut content).await?;
    let texts: Vec<_> = content.split(|byte| *byte == 0).map(text).collect();
    let pairs = texts.chunks_exact(2);
    Ok(pairs.map(|it| (it[0].clone(), it[1].clone())).collect())
}

async fn uwsgi(stream: &mut TcpStream) -> std::io::Result<Variables> {
    stream.read_u8().await?;
    let mut content = vec![0; usize::from(stream.read_u16_le().await?)];
    stream.read_u8().await?;
    stream.read_exact(&mut content).await?;
    let mut rest = &content[..];
    let mut take = || {
        let (length, after) = rest.split_at(2);
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let (taken, after) = after.split_at(length);
        rest = after;
        (text(taken), rest.is_empty())
    };
    let mut variables = Variables::new();
    loop {
        let (name, _) = take();
        let (value, is_last) = take();
        variables.insert(name, value);
        if is_last {
            return Ok(variables);
        }
    }
}

async fn grpc(stream: TcpStream) -> std::io::Result<()> {
    let tell = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
        let headers: BTreeMap<_, _> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect();
        let body = axum::body::Body::from(json!({"headers": headers}).to_string());
        let answer = hyper::Response::builder().status(status(request.uri().path()));
        answer.header("content-type", "application/json").body(body)
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let served = connection.serve_connection(TokioIo::new(stream), tell);
    served.await.map_err(std::io::Error::other)
}
