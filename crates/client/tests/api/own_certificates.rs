//! License Servers with certificates of their own, made by the real `openssl` and
//! presented by a real nginx.

use std::path::Path;

use license_client::certificate_file::certificates;
use reqwest::StatusCode;
use tempfile::TempDir;

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::nginx::{Nginx, openssl, self_signed};
use crate::scripted_cloud::ScriptedCloud;

/// Activates over TLS, at `host`, with the certificates of `listed`.
async fn activate(nginx: &Nginx, host: &str, listed: &Path) -> (StatusCode, String) {
    let url = format!("{}/api", nginx.url.replace("127.0.0.1", host));
    let listed = listed.display().to_string();
    let site = Site::start(Engine::Sqlite, &url, &["--license-ca-file", &listed]).await;
    let (status, body) = site.activate(KEY).await;
    site.end().await;
    (
        status,
        body["detail"].as_str().unwrap_or_default().to_owned(),
    )
}

/// An nginx with a certificate that `openssl req -x509` makes with these arguments, and a
/// copy of the certificate.
async fn server(cloud: &ScriptedCloud, arguments: &str) -> (Nginx, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    self_signed(directory.path(), arguments);
    let copy = tempfile::tempdir().unwrap();
    let name = "certificate.pem";
    std::fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    (Nginx::with_certificate(&cloud.url, directory).await, copy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_signed_certificate_that_is_listed_is_believed() {
    let cloud = ScriptedCloud::start().await;
    for (arguments, hosts) in [
        // As the manuals say it: an authority, and no host but in the common name.
        ("-newkey rsa:2048 -subj /CN=localhost", &["localhost"][..]),
        (
            "-newkey rsa:2048 -subj /C=DE/O=Vendor/CN=LocalHost/emailAddress=a@vendor.example",
            &["localhost"],
        ),
        (
            "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=x -addext subjectAltName=DNS:localhost,IP:127.0.0.1",
            &["localhost", "127.0.0.1"],
        ),
        (
            "-newkey rsa:2048 -subj /CN=x -addext subjectAltName=IP:127.0.0.1 -addext keyUsage=keyCertSign",
            &["127.0.0.1"],
        ),
        // As servers have them.
        (
            "-newkey ed25519 -subj /CN=x -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE",
            &["localhost"],
        ),
        (
            "-newkey ed25519 -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth",
            &["localhost"],
        ),
    ] {
        let (nginx, copy) = server(&cloud, arguments).await;
        let listed = copy.path().join("certificate.pem");
        for host in hosts {
            let (status, detail) = activate(&nginx, host, &listed).await;
            assert_eq!(status, StatusCode::OK, "{arguments} {host}: {detail}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_than_the_listed_one_is_refused_with_the_command() {
    let cloud = ScriptedCloud::start().await;
    let arguments = "-newkey rsa:2048 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
    let (nginx, _) = server(&cloud, arguments).await;
    // One like it, by name.
    let other = tempfile::tempdir().unwrap();
    self_signed(other.path(), arguments);
    let (status, detail) =
        activate(&nginx, "localhost", &other.path().join("certificate.pem")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let port = nginx.url.rsplit(':').next().unwrap();
    let command = format!(
        "openssl s_client -connect localhost:{port} -servername localhost </dev/null | openssl x509 -out license-server.pem"
    );
    assert!(
        detail.contains("certificate is self-signed and is not listed as trusted"),
        "{detail}"
    );
    assert!(detail.contains(&command), "{detail}");
    // The command says which one to list.
    let fetched = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("sh")
        .args(["-c", &command])
        .current_dir(fetched.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let listed = fetched.path().join("license-server.pem");
    let (status, detail) = activate(&nginx, "localhost", &listed).await;
    assert_eq!(status, StatusCode::OK, "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_certificate_for_another_name_is_refused_with_the_command() {
    let cloud = ScriptedCloud::start().await;
    for (arguments, host, said) in [
        // No host in it, and an address that a common name cannot say.
        (
            "-subj /CN=localhost",
            "127.0.0.1",
            "is not valid for 127.0.0.1; have the certificate's authority issue one that is, or, \
             if the certificate is self-signed, create one: openssl req -x509",
        ),
        (
            "-subj /CN=127.0.0.1",
            "127.0.0.1",
            "-addext subjectAltName=IP:127.0.0.1",
        ),
        (
            "-subj /CN=vendor.example",
            "localhost",
            "-subj /CN=localhost -addext subjectAltName=DNS:localhost",
        ),
        (
            "-subj /CN=localhost/CN=vendor.example",
            "localhost",
            "is not valid for localhost",
        ),
        (
            "-subj /CN=localhost -addext subjectAltName=DNS:vendor.example",
            "localhost",
            "is for vendor.example, not for localhost",
        ),
    ] {
        for more in ["", "-addext basicConstraints=critical,CA:FALSE"] {
            let all = format!("-newkey ed25519 {arguments} {more}");
            let (nginx, copy) = server(&cloud, &all).await;
            let listed = copy.path().join("certificate.pem");
            let (status, detail) = activate(&nginx, host, &listed).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{all}");
            assert!(detail.contains(said), "{all}: {detail}");
        }
    }
    assert!(cloud.arrived().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_certificate_of_a_private_authority_may_be_listed_itself() {
    let cloud = ScriptedCloud::start().await;
    let authority = tempfile::tempdir().unwrap();
    self_signed(authority.path(), "-newkey ed25519 -subj /CN=Authority");
    let issue = || {
        let directory = tempfile::tempdir().unwrap();
        let ca = authority.path().display();
        std::fs::write(
            directory.path().join("san"),
            "subjectAltName=DNS:localhost\n",
        )
        .unwrap();
        openssl(
            directory.path(),
            "req -newkey ed25519 -nodes -keyout key.pem -out csr -subj /CN=x",
        );
        openssl(
            directory.path(),
            &format!(
                "x509 -req -in csr -days 9 -CA {ca}/certificate.pem -CAkey {ca}/key.pem -CAcreateserial -extfile san -out certificate.pem"
            ),
        );
        directory
    };
    let (one, other) = (issue(), issue());
    let copy = tempfile::tempdir().unwrap();
    let listed = copy.path().join("listed.pem");
    std::fs::copy(one.path().join("certificate.pem"), &listed).unwrap();
    let nginx = Nginx::with_certificate(&cloud.url, one).await;
    let (status, detail) = activate(&nginx, "localhost", &listed).await;
    assert_eq!(status, StatusCode::OK, "{detail}");
    let nginx = Nginx::with_certificate(&cloud.url, other).await;
    let (status, detail) = activate(&nginx, "localhost", &listed).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        detail.contains("is not signed by a trusted authority"),
        "{detail}"
    );
    // The authority vouches for both, also from a file of Windows.
    let text = std::fs::read_to_string(authority.path().join("certificate.pem")).unwrap();
    let wide = format!("\u{feff}{text}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect::<Vec<_>>();
    std::fs::write(&listed, wide).unwrap();
    let (status, detail) = activate(&nginx, "localhost", &listed).await;
    assert_eq!(status, StatusCode::OK, "{detail}");
    // So does it in DER.
    openssl(
        authority.path(),
        "x509 -in certificate.pem -outform der -out certificate.der",
    );
    let (status, detail) = activate(
        &nginx,
        "localhost",
        &authority.path().join("certificate.der"),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_certificate_that_has_expired_is_refused() {
    let cloud = ScriptedCloud::start().await;
    for constraints in ["CA:TRUE", "CA:FALSE"] {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let config = "[ca]\ndefault_ca=it\n[it]\ndatabase=index\nserial=serial\nnew_certs_dir=.\n\
             default_md=sha256\npolicy=any\nx509_extensions=extensions\n[any]\ncommonName=supplied\n\
             [extensions]\nsubjectAltName=DNS:localhost\n";
        let config = format!("{config}basicConstraints=critical,{constraints}\n");
        std::fs::write(at.join("config"), config).unwrap();
        std::fs::write(at.join("index"), "").unwrap();
        std::fs::write(at.join("serial"), "01\n").unwrap();
        openssl(
            at,
            "req -newkey rsa:2048 -nodes -keyout key.pem -out csr -subj /CN=localhost",
        );
        openssl(
            at,
            "ca -batch -selfsign -notext -config config -in csr -keyfile key.pem -out certificate.pem \
             -startdate 20200101000000Z -enddate 20200301000000Z",
        );
        let copy = tempfile::tempdir().unwrap();
        let listed = copy.path().join("listed.pem");
        std::fs::copy(at.join("certificate.pem"), &listed).unwrap();
        let nginx = Nginx::with_certificate(&cloud.url, directory).await;
        let (status, detail) = activate(&nginx, "localhost", &listed).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{constraints}");
        assert!(detail.contains("has expired"), "{constraints}: {detail}");
    }
    assert!(cloud.arrived().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_intermediate_certificate_is_to_send_the_whole_chain() {
    let cloud = ScriptedCloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    self_signed(at, "-newkey ed25519 -subj /CN=Root");
    let authority = tempfile::tempdir().unwrap();
    let root = authority.path().join("root.pem");
    std::fs::copy(at.join("certificate.pem"), &root).unwrap();
    std::fs::write(at.join("ca"), "basicConstraints=critical,CA:TRUE\n").unwrap();
    std::fs::write(at.join("san"), "subjectAltName=DNS:localhost\n").unwrap();
    for arguments in [
        "req -newkey ed25519 -nodes -keyout middle.key -out middle.csr -subj /CN=Intermediate",
        "x509 -req -in middle.csr -days 9 -CA certificate.pem -CAkey key.pem -CAcreateserial -extfile ca -out middle.pem",
        "req -newkey ed25519 -nodes -keyout leaf.key -out leaf.csr -subj /CN=x",
        "x509 -req -in leaf.csr -days 9 -CA middle.pem -CAkey middle.key -CAcreateserial -extfile san -out leaf.pem",
    ] {
        openssl(at, arguments);
    }
    let leaf = std::fs::read_to_string(at.join("leaf.pem")).unwrap();
    let whole = leaf.clone() + &std::fs::read_to_string(at.join("middle.pem")).unwrap();
    for (certificates, is_whole) in [(leaf, false), (whole, true)] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("certificate.pem"), certificates).unwrap();
        std::fs::copy(at.join("leaf.key"), directory.path().join("key.pem")).unwrap();
        let nginx = Nginx::with_certificate(&cloud.url, directory).await;
        let (status, detail) = activate(&nginx, "localhost", &root).await;
        if is_whole {
            assert_eq!(status, StatusCode::OK, "{detail}");
            continue;
        }
        assert_eq!(status, StatusCode::BAD_REQUEST, "{detail}");
        let advice = "configure the server to send the whole chain";
        assert!(detail.contains(advice), "{detail}");
        // It would be needed again with each renewal of the certificate.
        assert!(!detail.contains("add that exact certificate"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activation_reports_a_port_without_tls() {
    let cloud = ScriptedCloud::start().await;
    let url = format!("{}/api", cloud.url.replace("http://", "https://"));
    let site = Site::start(Engine::Sqlite, &url, &[]).await;
    let (status, body) = site.activate(KEY).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("speaks HTTP, not TLS"), "{detail}");
    site.end().await;
}

/// As people have them: from Windows, from environment variables and from other tools.
#[test]
fn a_file_of_certificates_is_read_in_many_forms_and_the_others_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    self_signed(at, "-newkey ed25519 -subj /CN=Root");
    for arguments in [
        "x509 -in certificate.pem -outform der -out der",
        "x509 -in certificate.pem -trustout -out trusted",
        "crl2pkcs7 -nocrl -certfile certificate.pem -out p7b",
        "crl2pkcs7 -nocrl -certfile certificate.pem -outform der -out p7b.der",
        "pkcs12 -export -nokeys -in certificate.pem -passout pass: -out p12",
        "pkcs12 -export -legacy -nokeys -in certificate.pem -passout pass:p -out old.p12",
        "pkey -in key.pem -outform der -out key.der",
        "x509 -in certificate.pem -text -out text",
    ] {
        openssl(at, arguments);
    }
    let file = |name: &str| std::fs::read(at.join(name)).unwrap();
    let pem = String::from_utf8(file("certificate.pem")).unwrap();
    let der = file("der");
    let lines: Vec<&str> = pem.lines().collect();
    let in_lines = |between: &str| lines.join(between).into_bytes();
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    let body = lines[1..lines.len() - 1].concat();
    for (form, bytes) in [
        ("unchanged", pem.clone().into_bytes()),
        ("CRLF", in_lines("\r\n")),
        ("CR", in_lines("\r")),
        ("indented", in_lines("\n    ")),
        ("empty lines", in_lines(" \n\n\t")),
        ("one line", in_lines(" ")),
        ("no line", format!("{first}{body}{last}").into_bytes()),
        ("escaped", in_lines("\\n")),
        (
            "JSON",
            format!("\"{}\\r\\n\"", lines.join("\\r\\n")).into_bytes(),
        ),
        ("with text", file("text")),
        ("DER", der.clone()),
        ("other label", pem.replace("CERT", "X509 CERT").into_bytes()),
        (
            "with a key",
            [file("key.pem"), pem.clone().into_bytes()].concat(),
        ),
    ] {
        let found = certificates(&bytes).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(found.len(), 1, "{form}");
        assert_eq!(found[0].as_ref(), der, "{form}");
    }
    let twice = format!("{}{}", pem.replace('\n', "\\n"), pem.replace('\n', " "));
    assert_eq!(certificates(twice.as_bytes()).unwrap().len(), 2);
    for (name, said, command) in [
        ("trusted", "TRUSTED CERTIFICATE", "openssl x509 -in FILE"),
        ("p7b", "PKCS #7", "openssl pkcs7 -print_certs -in FILE"),
        (
            "p7b.der",
            "in DER",
            "openssl pkcs7 -inform der -print_certs",
        ),
        ("p12", "PKCS #12", "openssl pkcs12 -nokeys -in FILE"),
        ("old.p12", "add -legacy", "openssl pkcs12 -nokeys -in FILE"),
        ("key.der", "a private key", "openssl s_client"),
    ] {
        let error = certificates(&file(name)).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(command), "{error}");
        // The command makes a file that is read.
        if command.contains("FILE") {
            let command = error.split("openssl ").nth(1).unwrap();
            let command = command.replace("FILE", name);
            let more = match name {
                "p12" => " -passin pass:",
                "old.p12" => " -legacy -passin pass:p",
                _ => "",
            };
            openssl(at, &format!("{command}{more}"));
            assert_eq!(certificates(&file("ca.pem")).unwrap()[0].as_ref(), der);
        }
    }
    let cut = pem.replace("-----END", "");
    let error = certificates(cut.as_bytes()).unwrap_err().to_string();
    assert!(
        error.contains("'-----END CERTIFICATE-----' is missing"),
        "{error}"
    );
    let error = certificates(&file("key.pem")).unwrap_err().to_string();
    assert!(error.contains("no PEM certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_service_follows_a_file_of_certificates_that_changes() {
    let cloud = ScriptedCloud::start().await;
    let arguments = "-newkey rsa:2048 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
    let (nginx, right) = server(&cloud, arguments).await;
    let other = tempfile::tempdir().unwrap();
    self_signed(other.path(), arguments);
    let listed = other.path().join("certificate.pem");
    let wrong = std::fs::read(&listed).unwrap();
    let right = std::fs::read(right.path().join("certificate.pem")).unwrap();
    let url = format!("{}/api", nginx.url.replace("127.0.0.1", "localhost"));
    let file = listed.display().to_string();
    let mut site = Site::start(Engine::Sqlite, &url, &["--license-ca-file", &file]).await;
    let found = async |site: &Site| {
        let (_, answer) = site.post("/api/license/diagnostics", None).await;
        let findings = answer["findings"].as_array().unwrap().clone();
        let finding = findings
            .into_iter()
            .find(|it| it["what"] == "License Server");
        finding.unwrap()["found"].as_str().unwrap().to_owned()
    };
    // The diagnosis is of the calls that are made, and changes with them.
    for (content, works) in [
        (&wrong[..], false),
        (&right[..], true),
        (&wrong[..], false),
        // What is no certificate, or is not there, changes nothing.
        (b"hello", false),
        (&right[..], true),
        (b"hello", true),
    ] {
        std::fs::write(&listed, content).unwrap();
        let (status, body) = site.activate(KEY).await;
        assert_eq!(status == StatusCode::OK, works, "{body}");
    }
    std::fs::remove_file(&listed).unwrap();
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    let said = found(&site).await;
    assert!(said.contains("responds"), "{said}");
    std::fs::write(&listed, &wrong).unwrap();
    site.restart().await;
    let said = found(&site).await;
    assert!(said.contains("certificate"), "{said}");
    site.end().await;
}
