//! Debian packages that tests need.

use std::process::Command;

use anyhow::{Result, bail};

use crate::program::{exists, is_root, step};

/// Installs `package` unless `is_there`; if that is not possible, names what is
/// missing.
pub(crate) fn ensure(package: &str, is_there: impl Fn() -> bool) -> Result<()> {
    ensure_all(&[package], is_there)
}

/// The same for several packages that are needed together.
pub(crate) fn ensure_all(packages: &[&str], is_there: impl Fn() -> bool) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    let names = packages.join(" ");
    if !is_root() || !exists("apt-get") {
        bail!("the tests need {names}; install with: sudo apt-get install {names}");
    }
    step(
        "updating the package lists",
        Command::new("apt-get").args(["-q", "update"]),
    )?;
    step(
        &format!("installing {names}"),
        Command::new("apt-get")
            .args(["-q", "install", "-y", "--no-install-recommends"])
            .args(packages)
            // Debian starts a service after installing it, unless this reports that the machine is
            // not running yet. Tests start their own services.
            .env("RUNLEVEL", "1")
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    if !is_there() {
        bail!("{names}: installed, but files that the tests need are missing");
    }
    Ok(())
}
