//! `cargo xtask deployment`: checks of `deploy/` that need neither a container engine nor
//! systemd as the init system of this machine.
//!
//! The image is simulated with its content: only the static programs, in a directory that
//! is mounted read-only, run as the image's user.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use tempfile::TempDir;

use crate::packages::{self, Need};
use crate::program::{cargo, exists, free_port, is_root, now, output, root, step, stop};

/// Options of the deployment check.
#[derive(Args)]
pub(crate) struct Deployment {
    /// Skip the release build of the static programs and their run in a bare
    /// directory
    #[arg(long)]
    only_files: bool,
}

/// Devices that a container engine provides and the programs use.
const DEVICES: [&str; 3] = ["null", "random", "urandom"];
/// The user of the Dockerfile.
const USER: u32 = 10_001;

pub(crate) fn run(command: &Deployment) -> Result<()> {
    packages::ensure(&[
        Need::new(&["prometheus"], || exists("promtool")),
        Need::new(&["systemd"], || exists("systemd-analyze")),
    ])?;
    println!("── options in the Dockerfile");
    engine_options(&fs::read_to_string(root().join("Dockerfile"))?)?;
    let deploy = root().join("deploy");
    let prometheus = deploy.join("prometheus");
    step(
        "alert rules",
        Command::new("promtool")
            .args(["check", "rules", "alerts.yaml"])
            .current_dir(&prometheus),
    )?;
    step(
        "alert rules, tested with sample series",
        Command::new("promtool")
            .args(["test", "rules", "alerts.test.yaml"])
            .current_dir(&prometheus),
    )?;
    if command.only_files {
        return unit(&deploy, None);
    }
    ensure!(
        is_root(),
        "running the programs in an empty directory requires root; use --only-files to check only \
         the files"
    );
    let programs = static_programs()?;
    unit(&deploy, Some(&programs))?;
    bare_directory(&programs)
}

/// Checks that every option of an instruction is known to Docker 20.10, which Debian 12 has.
fn engine_options(dockerfile: &str) -> Result<()> {
    let joined = dockerfile.replace("\\\n", " ");
    for line in joined.lines() {
        let mut words = line.split_whitespace();
        let known: &[&str] = match words.next() {
            Some("FROM") => &["platform"],
            Some("COPY" | "ADD") => &["from", "chown"],
            Some("HEALTHCHECK") => &["interval", "timeout", "start-period", "retries"],
            _ => continue,
        };
        let options = words.map_while(|word| word.strip_prefix("--"));
        for option in options {
            let name = option.split('=').next().unwrap_or_default();
            ensure!(
                known.contains(&name),
                "Docker 20.10 does not support --{name}: {line}"
            );
        }
    }
    Ok(())
}

/// Checks the unit's syntax, and its exposure as rated by systemd.
fn unit(deploy: &Path, programs: Option<&Path>) -> Result<()> {
    let text = fs::read_to_string(deploy.join("systemd/license-client.service"))?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("license-client.service");
    // systemd checks that the program exists; any program works if ours was not
    // built.
    let program = programs.map_or_else(|| "/bin/true".into(), |it| it.join("license-client"));
    let program = program.display().to_string();
    fs::write(
        &file,
        text.replace("/usr/local/bin/license-client", &program),
    )?;
    let analyze = |verb: &str| {
        let mut command = Command::new("systemd-analyze");
        command.arg(verb).arg("--offline=yes").arg(&file);
        command
    };
    step(
        "systemd unit",
        Command::new("systemd-analyze").arg("verify").arg(&file),
    )?;
    // 0 is fully restricted, 10 is root with full access.
    let security = output(analyze("security").arg("--threshold=20"))?;
    let exposure = security.lines().last().unwrap_or_default();
    println!("   {}", exposure.trim());
    Ok(())
}

/// Builds the programs like the Dockerfile; returns their directory.
fn static_programs() -> Result<PathBuf> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc did not report its host target")?;
    step(
        "static release build, as in the Dockerfile",
        cargo(&["build", "--release", "--locked", "--target", host])
            .args(["-p", "license-client", "-p", "license-server"])
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    let programs = root().join("target").join(host).join("release");
    for program in ["license-client", "license-server"] {
        let file = programs.join(program);
        let needs = output(Command::new("readelf").arg("-d").arg(&file))?;
        ensure!(
            !needs.contains("(NEEDED)"),
            "{program} is not static:\n{needs}"
        );
        let mib = fs::metadata(&file)?.len() / 1024 / 1024;
        println!("   {program}: static, {mib} MiB");
    }
    Ok(programs)
}

/// A License Server and a License Client, each alone in a read-only directory as the
/// image's user; the client activates a key from the server.
fn bare_directory(programs: &Path) -> Result<()> {
    println!("── programs alone in a read-only directory, as user {USER}");
    let mut server = Bare::new(programs, "license-server")?;
    let mut client = Bare::new(programs, "license-client")?;
    let (server_port, client_port) = (free_port()?, free_port()?);
    server.set("PORT", &server_port.to_string());
    client.set("PORT", &client_port.to_string());
    // Resolves the name without libraries of an operating system.
    fs::create_dir(client.root().join("etc"))?;
    fs::write(
        client.root().join("etc/hosts"),
        "127.0.0.1 license-server\n",
    )?;
    client.set("NO_PROXY", "license-server");
    let url = format!("http://license-server:{server_port}/api");
    client.set("LICENSE_API_URL", &url);
    client.set("LICENSE_TRUSTED_KEYS", "/data/trusted-keys.json");

    server.mount()?;
    server.serve()?;
    let keys = server.output(&["keys", "export"])?;
    fs::write(client.root().join("data/trusted-keys.json"), keys)?;
    client.mount()?;
    client.serve()?;

    let issued = server.output(&["issue", "--tier", "professional", "--json"])?;
    let issued: serde_json::Value = serde_json::from_str(&issued)?;
    let key = issued["licenseKey"].as_str().context("no key was issued")?;
    client.output(&["activate", key])?;
    client.output(&["check", "module.map_view"])?;
    println!("   both are healthy, and a key was activated over the network using a host name");

    let took = client.stop()?;
    println!("   the client stops in {} ms", took.as_millis());
    client.serve()?;
    client.output(&["check", "module.map_view"])?;
    println!("   the client is still licensed after a restart");
    client.stop()?;
    server.stop()?;
    Ok(())
}

/// A program alone in a directory, with a volume at `/data`.
struct Bare {
    program: &'static str,
    directory: TempDir,
    settings: Vec<(&'static str, String)>,
    mounts: Vec<PathBuf>,
    child: Option<Child>,
}

impl Bare {
    fn new(programs: &Path, program: &'static str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let bare = Self {
            program,
            directory,
            settings: vec![("HOST", "0.0.0.0".into()), ("STATE_DIR", "/data".into())],
            mounts: Vec::new(),
            child: None,
        };
        fs::set_permissions(bare.directory.path(), fs::Permissions::from_mode(0o755))?;
        let data = bare.root().join("data");
        fs::create_dir_all(&data)?;
        chown(&data, Some(USER), Some(USER))?;
        fs::copy(programs.join(program), bare.root().join(program))?;
        Ok(bare)
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.settings.push((name, value.to_owned()));
    }

    /// Makes the root read-only, and its volume writable.
    fn mount(&mut self) -> Result<()> {
        let root = self.root();
        let volume = self.directory.path().join("volume");
        fs::rename(root.join("data"), &volume)?;
        fs::create_dir(root.join("data"))?;
        // Every container engine provides devices.
        fs::create_dir(root.join("dev"))?;
        for device in DEVICES {
            fs::write(root.join("dev").join(device), "")?;
        }
        let mut bind = |from: &Path, to: &Path| -> Result<()> {
            output(Command::new("mount").arg("--bind").arg(from).arg(to))?;
            self.mounts.push(to.to_owned());
            Ok(())
        };
        bind(&root, &root)?;
        bind(&volume, &root.join("data"))?;
        for device in DEVICES {
            bind(
                &Path::new("/dev").join(device),
                &root.join("dev").join(device),
            )?;
        }
        let remount = ["-o", "remount,ro,bind"];
        output(Command::new("mount").args(remount).arg(&root))?;
        ensure!(
            fs::write(root.join("anything"), "").is_err(),
            "the root is not read-only"
        );
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // Without the environment there is no PATH to find it.
        let mut command = Command::new("/usr/sbin/chroot");
        command
            .arg(format!("--userspec={USER}:{USER}"))
            .arg("--groups=")
            .arg(self.root())
            .arg(format!("/{}", self.program))
            .args(arguments)
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(arguments))
    }

    /// Starts the service, and waits until its health check succeeds.
    fn serve(&mut self) -> Result<()> {
        let log = fs::File::create(self.directory.path().join("log"))?;
        let mut serve = self.command(&["serve"]);
        self.child = Some(serve.stdout(log.try_clone()?).stderr(log).spawn()?);
        let start = now();
        while self.output(&["health"]).is_err() {
            if start.elapsed() > Duration::from_secs(10) {
                let log = fs::read_to_string(self.directory.path().join("log"))?;
                bail!("{} is not healthy after 10 s:\n{log}", self.program);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        println!(
            "   {}: healthy {} ms after its start",
            self.program,
            start.elapsed().as_millis()
        );
        Ok(())
    }

    fn stop(&mut self) -> Result<Duration> {
        stop(self.child.as_mut().context("the program is not running")?)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = stop(child)
        {
            eprintln!("warning: {error}");
        }
        for mount in self.mounts.iter().rev() {
            if let Err(error) = output(Command::new("umount").arg(mount)) {
                eprintln!("warning: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_has_no_option_that_older_engines_refuse() {
        let shipped = include_str!("../../Dockerfile");
        engine_options(shipped).unwrap();
        let newer = shipped.replace("--start-period", "--start-interval=1s \\\n --start-period");
        let error = engine_options(&newer).unwrap_err().to_string();
        assert!(error.contains("--start-interval"), "{error}");
    }
}
