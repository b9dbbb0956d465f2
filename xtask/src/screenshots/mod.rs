//! `cargo xtask screenshots`: screenshots for the documentation, taken of the real programs
//! with a real browser.

mod browser;
mod fleet;
mod site;

use anyhow::Result;

use crate::packages::{self, Need};
use crate::program::{cargo, exists, root, step};
use browser::Browser;

pub(crate) fn run() -> Result<()> {
    for program in ["chromium", "faketime"] {
        packages::ensure(&[Need::program(program)])?;
    }
    packages::ensure(&[Need::new(&["chromium-driver"], || exists("chromedriver"))])?;
    let packages = ["-p", "license-server", "-p", "license-client"];
    step(
        "building License Server and License Client",
        cargo(&["build", "--locked"]).args(packages),
    )?;
    let pictures = root().join("docs/pictures");
    std::fs::create_dir_all(&pictures)?;
    let profile = tempfile::tempdir()?;
    let browser = Browser::start(&profile.path().display().to_string())?;
    site::take(&browser, &pictures)?;
    fleet::take(&browser, &pictures)?;
    println!("Wrote the screenshots to docs/pictures.");
    Ok(())
}
