//! Debian packages that tests need.

use std::process::Command;

use anyhow::{Result, bail};

use crate::program::{exists, is_root, step};

/// Packages that are needed together.
pub(crate) struct Need {
    packages: Vec<&'static str>,
    is_there: Box<dyn Fn() -> bool>,
}

impl Need {
    /// Packages, and how to find out whether what they contain is there.
    pub(crate) fn new(packages: &[&'static str], is_there: impl Fn() -> bool + 'static) -> Self {
        Self {
            packages: packages.to_vec(),
            is_there: Box::new(is_there),
        }
    }

    /// A package whose program has the same name.
    pub(crate) fn program(name: &'static str) -> Self {
        Self::new(&[name], move || exists(name))
    }
}

/// The missing ones of these packages.
pub(crate) fn missing(needs: &[Need]) -> Vec<&'static str> {
    let missing = needs.iter().filter(|need| !(need.is_there)());
    missing.flat_map(|need| need.packages.clone()).collect()
}

/// Whether this command may install packages.
pub(crate) fn may_install() -> bool {
    is_root() && exists("apt-get")
}

/// Installs missing packages in one step; if that is not possible, names all of them.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let packages = missing(needs);
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if !may_install() {
        bail!("missing packages; install them with: sudo apt-get install {names}");
    }
    step(
        "updating the package lists",
        Command::new("apt-get").args(["-q", "update"]),
    )?;
    step(
        &format!("installing {names}"),
        Command::new("apt-get")
            .args(["-q", "install", "-y", "--no-install-recommends"])
            .args(&packages)
            // Debian starts a service after installing it, unless this reports that the machine is
            // not running yet. Tests start their own services.
            .env("RUNLEVEL", "1")
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    let missing = missing(needs);
    if !missing.is_empty() {
        let names = missing.join(" ");
        bail!("{names}: installed, but files that the tests need are missing");
    }
    Ok(())
}
