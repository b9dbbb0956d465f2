//! What gateways send before a request, or instead of one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::gates::process::free_port;
use crate::program::Program;

/// Sends bytes, and reads the answer.
fn answer(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // The connection may be reset after the answer.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// How many log lines contain a text, which appears so often within ten seconds.
async fn is_logged(program: &Program, text: &str, times: usize) {
    for _ in 0..500 {
        if program.log().matches(text).count() == times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{}", program.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_with_the_proxy_protocol_and_tls_on_a_plain_port_are_logged() {
    let http2 = free_port();
    let program = Program::start(&["--ext-authz-port", &http2.to_string()]).await;
    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let version_1 = [&b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 80\r\n"[..], request].concat();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xc3\x50\0\x50";
    let version_2 = [&header[..], request].concat();
    let proxy = "peer=127.0.0.1";
    let text = "the proxy uses the PROXY protocol, which is not supported";
    for (times, bytes) in [&version_1, &version_2].into_iter().enumerate() {
        let answered = answer(program.port, bytes);
        assert!(answered.starts_with("HTTP/1.1 400 "), "{answered}");
        assert!(
            answered.ends_with("{\"detail\":\"The request is not valid HTTP/1.1.\"}"),
            "{answered}"
        );
        is_logged(&program, text, times + 1).await;
    }
    answer(http2, &version_2);
    is_logged(&program, text, 3).await;
    answer(
        program.port,
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
    );
    is_logged(&program, "a caller uses TLS on a port without TLS", 1).await;
    assert!(program.log().contains(proxy), "{}", program.log());
    assert!(answer(program.port, request).starts_with("HTTP/1.1 200 "));
    is_logged(&program, text, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_speaks_tls_to_the_service_says_so() {
    let program = Program::start(&[]).await;
    let address = format!("https://localhost:{}", program.port);
    for arguments in [["status", "--url"], ["validate", "--url"]] {
        let output = std::process::Command::new(crate::PROGRAM)
            .args(arguments)
            .arg(&address)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("speaks HTTP, not TLS; write http://"),
            "{said}"
        );
        assert!(!said.contains("start it"), "{said}");
    }
}
