//! Add-on keys by command.

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;

use super::license;
use crate::commands::{json, run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    an_add_on_key_goes_through_its_life_by_commands;
    what_a_key_grants_is_stated_on_the_command_line;
}

async fn an_add_on_key_goes_through_its_life_by_commands(engine: Engine) {
    let vendor = Vendor::in_the_present(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let issue = ["addons", "issue", "--add", "cameras=16", "--order", "4712"];
    let output = run(&vendor, &issue).await;
    assert!(output.status.success(), "{}", said(&output));
    let add_on = String::from_utf8(output.stdout.clone()).unwrap();
    let add_on = add_on.trim();
    assert!(add_on.starts_with("FXSADD-"), "{add_on}");
    assert!(said(&output).contains("the only time"), "{}", said(&output));

    let preview = said(&run(&vendor, &["addons", "redeem", &key, add_on, "--preview"]).await);
    assert!(
        preview.contains("Preview: nothing was changed"),
        "{preview}"
    );
    assert!(preview.contains("cameras: 32 instead of 16"), "{preview}");
    assert_eq!(license(&vendor, &key).await.max_cameras, 16);
    let redeemed = json(&vendor, &["addons", "redeem", &key, add_on]).await;
    assert_eq!(
        (&redeemed["stored"], &redeemed["amendment"]),
        (&true.into(), &2.into())
    );
    assert_eq!(license(&vendor, &key).await.max_cameras, 32);
    let again = said(&run(&vendor, &["addons", "redeem", &key, add_on]).await);
    assert!(
        again.contains("already redeemed for this license as amendment 2"),
        "{again}"
    );
    let number = redeemed["addOn"]["id"].to_string();
    let shown = said(&run(&vendor, &["addons", "show", &number]).await);
    for part in [
        "State     redeemed",
        "Grants    16 cameras",
        "Order     4712",
        "Amendment 2",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let listed = json(&vendor, &["addons", "list", "--state", "redeemed"]).await;
    assert_eq!(listed[0]["licenseId"], license(&vendor, &key).await.id);
    let refund = ["addons", "refund", &number, "--reason", "Ordered twice"];
    let refunded = said(&run(&vendor, &refund).await);
    assert!(refunded.contains("amendment 2 undone"), "{refunded}");
    assert_eq!(license(&vendor, &key).await.max_cameras, 16);
    let output = run(&vendor, &refund).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("already been refunded"),
        "{}",
        said(&output)
    );
    vendor.end().await;
}

async fn what_a_key_grants_is_stated_on_the_command_line(engine: Engine) {
    let vendor = Vendor::in_the_present(engine).await;
    let issue = [
        "addons",
        "issue",
        "--add",
        "cameras=8",
        "--from",
        "2099-01-01",
        "--until",
        "2099-02-01",
        "--add",
        "module.map_view",
        "--for",
        "P90D",
        "--redeem-by",
        "2098-12-31",
    ];
    let issued = json(&vendor, &issue).await;
    let expected = serde_json::json!([
        {"key": "cameras", "quantity": 8, "from": "2099-01-01T00:00:00Z",
            "until": "2099-02-01T23:59:59Z"},
        {"key": "module.map_view", "for": "P90D"},
    ]);
    assert_eq!(issued["grants"], expected);
    assert_eq!(issued["redeemBy"], "2098-12-31T23:59:59Z");
    for (wrong, why) in [
        (&["--for", "P1D"][..], "--for must follow the --add"),
        (
            &["--add", "x", "--for", "P1D", "--for", "P2D"],
            "--for is given twice",
        ),
        (&["--add", "x", "--for", "soon"], "ISO 8601"),
        (
            &["--plan", "standard", "--add", "cameras=1"],
            "cannot be used with",
        ),
    ] {
        let output = run(&vendor, &[&["addons", "issue"], wrong].concat()).await;
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(why), "{why}: {}", said(&output));
    }
    vendor.end().await;
}
