//! The table of routes changes while the service runs.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::PATH;
use crate::program::Program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_reloaded_on_sighup_and_an_invalid_one_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routes.toml");
    let shown = file.display().to_string();
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("[[route]]\npath = \"/x\"\nfeature = \"module.map_view\"\n");
    let mut program = Program::start(&["--gate-routes", &shown]).await;
    let status = async |program: &Program, path: &str| {
        let url = format!("{PATH}{path}");
        let (status, _) = program.send(Method::GET, &url, &Value::Null).await;
        status
    };
    assert_eq!(status(&program, "/x").await, 403);
    assert_eq!(status(&program, "/y").await, 200);
    write("[[route]]\npath = \"/y\"\nfeature = \"module.map_view\"\n");
    program.hang_up();
    for _ in 0..200 {
        if status(&program, "/y").await == 403 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(&program, "/y").await, 403);
    assert_eq!(status(&program, "/x").await, 200);

    write("[[route]]\npath = \"/z\"\n\n[[route]]\npath = \"/a/**/b\"\n");
    program.hang_up();
    for _ in 0..200 {
        if program.log().contains("line 5") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = program.log();
    assert!(log.contains("line 5: '**' stands for the rest"), "{log}");
    assert_eq!(status(&program, "/y").await, 403);

    write("# [[route]]\n");
    program.hang_up();
    for _ in 0..200 {
        if program.log().contains("neither a [[route]] nor a default") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = program.log();
    assert!(log.contains("neither a [[route]] nor a default"), "{log}");
    assert_eq!(status(&program, "/y").await, 403);
    assert!(log.contains("gate routes loaded"), "{log}");
    program.kill();
    let doctor = std::process::Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["doctor", "--port", "1", "--gate-routes"])
        .arg(&shown)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        said.contains("ERROR    gate routes: GATE_ROUTES: "),
        "{said}"
    );
    write("[[route]]\npath = \"/z\"\n\n[[route]]\npath = \"/a/**/b\"\n");

    // At the start it is a reason not to start.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["serve", "--port", "0", "--gate-routes", &shown])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("GATE_ROUTES") && said.contains("line 5"),
        "{said}"
    );
}
