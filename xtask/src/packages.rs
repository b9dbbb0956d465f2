//! Debian packages that tests need.

use std::process::Command;

use anyhow::{Result, bail};

use crate::program::{exists, is_root, step};

/// Installs `package` unless `is_there`; where that is not allowed, says
/// exactly what is missing.
pub(crate) fn ensure(package: &str, is_there: impl Fn() -> bool) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    if !is_root() || !exists("apt-get") {
        bail!("the tests need {package}; install it with: sudo apt-get install {package}");
    }
    step(
        "updating the package lists",
        Command::new("apt-get").args(["-q", "update"]),
    )?;
    step(
        &format!("installing {package}"),
        Command::new("apt-get")
            .args(["-q", "install", "-y", "--no-install-recommends", package])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    if !is_there() {
        bail!("{package} is installed, but what the tests need of it is not there");
    }
    Ok(())
}
