//! `cargo xtask setup`: what the tests need on this machine.

use anyhow::{Result, bail};
use clap::Args;

use crate::packages::{self, Need};
use crate::program::{exists, has_modules};
use crate::{bench, gateways, postgres};

/// Options of the setup.
#[derive(Args)]
pub(crate) struct Setup {
    /// Only what `cargo xtask test --fast` needs
    #[arg(long)]
    fast: bool,

    /// List what is missing without installing it; fails if anything is missing
    #[arg(long)]
    dry_run: bool,
}

/// For which tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The inner loop.
    Fast,
    /// Every test.
    Full,
}

pub(crate) fn run(command: &Setup) -> Result<()> {
    let extent = if command.fast {
        Extent::Fast
    } else {
        Extent::Full
    };
    if command.dry_run {
        let missing = missing(extent);
        if !missing.is_empty() {
            bail!("missing: {}", missing.join(", "));
        }
    } else {
        ensure(extent)?;
    }
    println!("── everything that the tests need is installed");
    Ok(())
}

/// Installs what is missing: Debian packages for the whole system, if this is root on
/// Debian, and everything else below `target/gateways`.
pub(crate) fn ensure(extent: Extent) -> Result<()> {
    let missing = missing(extent);
    if !missing.is_empty() && packages::may_install() {
        println!("── setting up: {}", missing.join(", "));
    }
    packages::ensure(&needs(extent))?;
    match extent {
        Extent::Fast => Ok(()),
        Extent::Full => gateways::install(),
    }
}

fn missing(extent: Extent) -> Vec<String> {
    let packages = packages::missing(&needs(extent));
    let mut missing: Vec<String> = packages
        .iter()
        .map(|package| format!("{package} (Debian package)"))
        .collect();
    if extent == Extent::Full {
        let below_target = gateways::missing();
        missing.extend(below_target.map(|name| format!("{name} (below target/gateways)")));
    }
    missing
}

fn needs(extent: Extent) -> Vec<Need> {
    let mut needs = vec![
        postgres::need(),
        Need::program("openssl"),
        Need::program("sqlite3"),
        Need::program("nginx"),
        Need::program("pgbouncer"),
        Need::program("faketime"),
        Need::program("strace"),
        // For the network of a container.
        Need::new(&["iproute2"], || exists("ip")),
    ];
    if extent == Extent::Full {
        // Of the Python service, and of the VMS's gateways.
        needs.push(Need::new(
            &[
                "python3-cryptography",
                "python3-fastapi",
                "python3-httpx",
                "python3-psycopg2",
                "python3-sqlalchemy",
                "python3-uvicorn",
            ],
            || has_modules("cryptography, fastapi, httpx, psycopg2, sqlalchemy, uvicorn"),
        ));
        needs.extend(gateways::needs());
        needs.extend(bench::needs());
    }
    needs
}
