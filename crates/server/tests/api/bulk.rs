//! Many licenses are issued, renewed and amended from a file, by the real program.

mod dry_run;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::licenses::Status;
use serde_json::Value;
use tempfile::TempDir;

use crate::PROGRAM;
use crate::commands::{run, said};
use crate::database::{Engine, on_both_engines};
use crate::exports::{Rows, rows};
use crate::harness::Vendor;

on_both_engines! {
    licenses_are_issued_from_a_file_once;
    an_edited_export_renews_its_licenses;
    amendments_are_made_once_and_equal_lines_each;
    a_dry_run_finds_the_errors_and_changes_nothing;
    a_killed_run_is_completed_by_repeating_it;
    two_runs_at_once_do_each_line_once;
}

/// A directory with a file of this name.
struct Batch {
    directory: TempDir,
    name: &'static str,
}

impl Batch {
    fn new(name: &'static str, text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(name), text).unwrap();
        Self { directory, name }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join(self.name)
    }

    fn result(&self) -> PathBuf {
        self.file().with_extension("result.csv")
    }

    fn results(&self) -> Rows {
        self.results_in("result.csv")
    }

    /// The results in a file beside it with this extension.
    fn results_in(&self, extension: &str) -> Rows {
        let file = self.file().with_extension(extension);
        rows(&std::fs::read_to_string(file).unwrap())
    }

    /// The outcomes of its lines.
    fn outcomes(&self) -> Vec<String> {
        self.outcomes_in("result.csv")
    }

    fn outcomes_in(&self, extension: &str) -> Vec<String> {
        let results = self.results_in(extension).into_iter();
        results.map(|row| row["outcome"].clone()).collect()
    }

    async fn run(&self, vendor: &Vendor, action: &str, more: &[&str]) -> Output {
        let file = self.file().display().to_string();
        let arguments = [&["bulk", action, "--from", &file], more].concat();
        run(vendor, &arguments).await
    }
}

async fn keys(vendor: &Vendor, count: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(vendor.issue(IssueRequest::of(Tier::Standard)).await);
    }
    keys
}

async fn shown(vendor: &Vendor, key: &str) -> Value {
    vendor.look(&format!("/licenses/{key}")).await["license"].take()
}

async fn licenses_are_issued_from_a_file_once(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let batch = Batch::new(
        "orders.csv",
        "plan,customer,seats,maxCameras,expiresAt\n\
         standard,Harbour Ltd,2,unlimited,2090-12-31\n\
         \n\
         standard,Harbour Ltd,2,unlimited,2090-12-31\n\
         gone,Quay,,,\n\
         standard,\"Kiosk, \"\"North\"\"\",two,,\n\
         standard@1,'=Formula,,,\n",
    );
    let output = batch.run(&vendor, "issue", &[]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = said(&output);
    for part in [
        "5 lines: 3 issued, 2 failed",
        "line 5: ",
        "line 6: invalid seats 'two'",
        "orders.result.csv",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let results = batch.results();
    let lines: Vec<&str> = results.iter().map(|row| &*row["line"]).collect();
    assert_eq!(lines, ["2", "4", "5", "6", "7"]);
    assert_eq!(
        batch.outcomes(),
        ["issued", "issued", "failed", "failed", "issued"]
    );
    let license = shown(&vendor, &results[0]["licenseKey"]).await;
    assert_eq!(
        (
            &license["customer"],
            &license["seats"],
            &license["maxCameras"],
            &license["expiresAt"]
        ),
        (
            &"Harbour Ltd".into(),
            &2.into(),
            &(-1).into(),
            &"2090-12-31T23:59:59Z".into()
        )
    );
    // The apostrophe of an export is no part of the name.
    let formula = shown(&vendor, &results[4]["licenseKey"]).await;
    assert_eq!(formula["customer"], "=Formula");
    assert_eq!(vendor.look("/licenses").await["total"], 3);

    // One line is corrected, and the command repeated.
    let text = std::fs::read_to_string(batch.file()).unwrap();
    std::fs::write(batch.file(), text.replace("gone", "standard")).unwrap();
    batch.run(&vendor, "issue", &[]).await;
    let expected = [
        "already_done",
        "already_done",
        "issued",
        "failed",
        "already_done",
    ];
    assert_eq!(batch.outcomes(), expected);
    let again = batch.results();
    for line in [0, 1, 4] {
        assert_eq!(again[line]["licenseKey"], results[line]["licenseKey"]);
    }
    assert_eq!(vendor.look("/licenses").await["total"], 4);
    // Under another name, it is another order.
    batch.run(&vendor, "issue", &["--batch", "second"]).await;
    assert_eq!(vendor.look("/licenses").await["total"], 8);
    vendor.end().await;
}

async fn an_edited_export_renews_its_licenses(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let keys = keys(&vendor, 3).await;
    vendor.set_status(&keys[2], Status::Revoked).await;
    let exported = run(&vendor, &["list", "--csv"]).await;
    let exported = String::from_utf8(exported.stdout).unwrap();
    // As a spreadsheet in another country writes it.
    let mut edited = csv::WriterBuilder::new()
        .delimiter(b';')
        .from_writer("\u{feff}".as_bytes().to_vec());
    let exported = exported.replace("never", "2090-12-31");
    let mut reader = csv::ReaderBuilder::new();
    for record in reader
        .has_headers(false)
        .from_reader(exported.as_bytes())
        .records()
    {
        edited.write_record(&record.unwrap()).unwrap();
    }
    let edited = String::from_utf8(edited.into_inner().unwrap()).unwrap();
    let batch = Batch::new("renewals.csv", &edited);
    let output = batch.run(&vendor, "renew", &["--json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (
            &report["lines"],
            &report["renewed"],
            &report["failed"],
            &report["dryRun"]
        ),
        (&3.into(), &2.into(), &1.into(), &false.into())
    );
    assert!(
        said(&output).contains("these columns are not used"),
        "{}",
        said(&output)
    );
    for key in &keys[..2] {
        let license = shown(&vendor, key).await;
        assert_eq!(license["expiresAt"], "2090-12-31T23:59:59Z");
        assert_eq!(license["amendment"], 2);
    }
    let results = batch.results();
    let revoked = results.iter().find(|row| row["licenseKey"] == keys[2]);
    assert!(revoked.unwrap()["error"].contains("revoked"));
    batch.run(&vendor, "renew", &[]).await;
    let mut outcomes = batch.outcomes();
    outcomes.sort();
    assert_eq!(outcomes, ["failed", "unchanged", "unchanged"]);
    assert_eq!(shown(&vendor, &keys[0]).await["amendment"], 2);
    let entries = vendor.audit("?limit=500").await;
    let renewed = entries.as_array().unwrap().iter();
    let renewed = renewed.filter(|it| it["action"] == "renewed" && it["actor"] == "command line");
    assert_eq!(renewed.count(), 2);

    let missing = Batch::new("x.csv", &format!("licenseKey,expiresAt\n{},\n", keys[0]));
    missing.run(&vendor, "renew", &[]).await;
    assert_eq!(
        missing.results()[0]["error"],
        "expiresAt is missing; expected a date, or 'never'"
    );
    vendor.end().await;
}

async fn amendments_are_made_once_and_equal_lines_each(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let keys = keys(&vendor, 2).await;
    let batch = Batch::new(
        "fair.csv",
        &format!(
            "licenseKey\tadd\tfrom\tuntil\treason\torder\n\
             {0}\tcameras=32\t2087-05-01\t\tThe fair\t4711\n\
             {0}\tmodule.alarm_advanced; users=5\t2087-05-01\t2087-07-29\tThe fair\t4711\n\
             {1}\tcameras=16\t\t\t\t\n\
             {1}\tcameras=16\t\t\t\t\n\
             {1}\t\t2087-05-01\t\t\t\n\
             FXSGHT-AAAA\tcameras=1\t\t\t\t\n",
            keys[0], keys[1]
        ),
    );
    for expected in [
        [
            "amended", "amended", "amended", "amended", "failed", "failed",
        ],
        [
            "already_done",
            "already_done",
            "already_done",
            "already_done",
            "failed",
            "failed",
        ],
    ] {
        batch.run(&vendor, "amend", &[]).await;
        assert_eq!(batch.outcomes(), expected);
        let (first, second) = (
            shown(&vendor, &keys[0]).await,
            shown(&vendor, &keys[1]).await,
        );
        assert_eq!(
            (&first["amendment"], &first["maxCameras"]),
            (&3.into(), &16.into())
        );
        assert_eq!(
            (&second["amendment"], &second["maxCameras"]),
            (&3.into(), &48.into())
        );
    }
    let results = batch.results();
    assert_eq!(
        results[4]["error"],
        "from and until apply to add, which is missing"
    );
    assert!(
        results[5]["error"].starts_with("licenseKey: "),
        "{results:?}"
    );
    let listed = vendor
        .look(&format!("/licenses/{}/amendments", keys[0]))
        .await;
    let newest = &listed["amendments"][0];
    assert_eq!(
        (&newest["order"], &newest["author"]),
        (&"4711".into(), &"command line".into())
    );
    assert_eq!(
        newest["changes"][0]["grant"]["until"],
        "2087-07-29T23:59:59Z"
    );
    vendor.end().await;
}

async fn a_dry_run_finds_the_errors_and_changes_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let keys = keys(&vendor, 1).await;
    for (action, name, text, expected) in [
        (
            "issue",
            "orders.csv",
            "plan,with\nstandard,module.alarm_advanced\nstandard,module.none\n".to_owned(),
            ["valid", "failed"],
        ),
        (
            "renew",
            "renewals.csv",
            format!(
                "licenseKey,expiresAt\n{0},2090-12-31\n{0},2001-12-31\n",
                keys[0]
            ),
            ["valid", "failed"],
        ),
        (
            "amend",
            "fair.csv",
            format!("licenseKey,seats\n{0},2\n{0},-1\n", keys[0]),
            ["valid", "failed"],
        ),
    ] {
        let batch = Batch::new(name, &text);
        let output = batch.run(&vendor, action, &["--dry-run"]).await;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains("nothing was changed"),
            "{}",
            said(&output)
        );
        let outcomes = batch.outcomes_in("dry-run.csv");
        assert_eq!(outcomes, expected, "{}", said(&output));
    }
    assert_eq!(vendor.look("/licenses").await["total"], 1);
    assert_eq!(shown(&vendor, &keys[0]).await["amendment"], 1);
    // A file that cannot be used is refused as a whole.
    let longest = format!("plan\n{}", "standard\n".repeat(100_001));
    for (text, expected) in [
        ("", "the file is empty"),
        ("plan\n", "no lines after"),
        ("plan,plan\nstandard,standard\n", "'plan' occurs twice"),
        ("customer\nHarbour\n", "the column 'plan' is missing"),
        ("plan,price\nstandard,7\n", "unknown column 'price'"),
        (&longest, "more than 100000 lines"),
    ] {
        let batch = Batch::new("orders.csv", text);
        let output = batch.run(&vendor, "issue", &[]).await;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains(expected),
            "{expected}: {}",
            said(&output)
        );
        assert!(!batch.result().exists());
    }
    let batch = Batch::new("orders.csv", "plan,customer\nstandard,a,b\n");
    batch.run(&vendor, "issue", &[]).await;
    assert!(
        batch.results()[0]["error"].contains("cells (3)"),
        "{:?}",
        batch.results()
    );
    assert_eq!(vendor.look("/licenses").await["total"], 1);
    vendor.end().await;
}

fn command(vendor: &Vendor, file: &Path, result: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["bulk", "issue", "--from"]).arg(file);
    command.arg("--result").arg(result).args(vendor.flags());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A file with so many orders, of which each license has another number of seats.
fn orders(count: usize) -> Batch {
    let lines = (1..=count).map(|number| format!("standard,{number}\n"));
    Batch::new(
        "orders.csv",
        &format!("plan,seats\n{}", lines.collect::<String>()),
    )
}

/// Each order was issued exactly once.
async fn assert_issued_once(vendor: &Vendor, count: usize) {
    let listed = vendor.look("/licenses?limit=500").await;
    let licenses = listed["licenses"].as_array().unwrap();
    let seats: BTreeSet<u64> = licenses
        .iter()
        .map(|it| it["seats"].as_u64().unwrap())
        .collect();
    assert_eq!((licenses.len(), seats.len()), (count, count));
}

async fn a_killed_run_is_completed_by_repeating_it(engine: Engine) {
    const LINES: usize = 300;
    let vendor = Vendor::start(engine).await;
    let batch = orders(LINES);
    let result = batch.directory.path().join("first.csv");
    let mut child = command(&vendor, &batch.file(), &result).spawn().unwrap();
    // In the middle of it.
    loop {
        let total = vendor.look("/licenses").await["total"].as_u64().unwrap();
        assert!(total < LINES as u64, "the command was too fast");
        if total > 3 {
            break;
        }
        tokio::task::yield_now().await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!result.exists());
    let output = batch.run(&vendor, "issue", &[]).await;
    assert!(output.status.success(), "{}", said(&output));
    let outcomes = batch.outcomes();
    let done = outcomes.iter().filter(|it| *it == "already_done").count();
    let issued = outcomes.iter().filter(|it| *it == "issued").count();
    assert!(done > 3 && done + issued == LINES, "{done} {issued}");
    assert_issued_once(&vendor, LINES).await;
    vendor.end().await;
}

async fn two_runs_at_once_do_each_line_once(engine: Engine) {
    const LINES: usize = 60;
    let vendor = Vendor::start(engine).await;
    let batch = orders(LINES);
    let children: Vec<_> = ["one.csv", "two.csv"]
        .map(|name| batch.directory.path().join(name))
        .map(|result| command(&vendor, &batch.file(), &result).spawn().unwrap())
        .into();
    for mut child in children {
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap());
        assert!(status.await.unwrap().success());
    }
    assert_issued_once(&vendor, LINES).await;
    vendor.end().await;
}
