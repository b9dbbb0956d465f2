//! A vendor with dozens of sites that make calls for a month, simulated with the License Server's
//! wall clock (libfaketime).

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::browser::Browser;
use super::site::serve;
use crate::program::{ask_for, free_port, root, stop};

const TOKEN: &str = "a-token-for-the-pictures-alone";
const DAYS: u32 = 30;
/// Calls from a site per day.
const HEARTBEATS: u32 = 3;
const TIERS: [&str; 3] = ["standard", "professional", "enterprise"];
const VERSIONS: [&str; 4] = ["4.2.0", "4.2.0", "4.1.3", "3.9.1"];
const CUSTOMERS: [&str; 12] = [
    "Harbour Ltd",
    "City of Aarhus",
    "Northern Rail",
    "Saint Mary Hospital",
    "Brightwater Utilities",
    "Olive Tree Hotels",
    "Kestrel Airport",
    "Meridian Mall",
    "Granite Quarries",
    "Tidewater Port",
    "Old Town Museum",
    "Lumen University",
];
const PLACES: [&str; 3] = ["main gate", "north yard", "control room"];

pub(super) fn take(browser: &Browser, pictures: &Path) -> Result<()> {
    let vendor = Vendor::start()?;
    let mut sites = Vec::new();
    for number in 0..CUSTOMERS.len() * PLACES.len() {
        sites.push(vendor.issue(number)?);
    }
    let unpaid = sites.get(8).context("there are too few sites")?;
    for day in 0..=DAYS {
        vendor.lead_to(DAYS - day)?;
        if day == DAYS - 6 {
            let words = json!({"message": "The invoice is overdue; call us"});
            let path = format!("/api/admin/licenses/{}/suspend", unpaid.license_id);
            vendor.administer("POST", &path, &words)?;
        }
        for site in &sites {
            vendor.call(site, day)?;
        }
    }
    let address = |path: &str| format!("http://127.0.0.1:{}{path}", vendor.port);
    browser.open(&address("/"))?;
    browser.run(&format!(
        "document.getElementById('token').value = '{TOKEN}'; document.querySelector('main form').submit()"
    ))?;
    browser.until("return !!document.querySelector('.tiles')")?;
    browser.open(&address("/"))?;
    browser.picture(&pictures.join("fleet.png"), 1290)?;
    browser.open(&address(&format!(
        "/console/licenses/{}",
        unpaid.license_id
    )))?;
    browser.picture(&pictures.join("license.png"), 1600)
}

struct Vendor {
    directory: tempfile::TempDir,
    port: u16,
    server: Child,
}

/// A site that makes calls.
struct Calling {
    number: usize,
    license_id: String,
    key: String,
}

impl Vendor {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let wall = directory.path().join("wall");
        std::fs::write(&wall, format!("-{DAYS}d\n"))?;
        let mut command = Command::new(root().join("target/debug/license-server"));
        command
            .current_dir(directory.path())
            .env_clear()
            .env("STATE_DIR", directory.path().join("kept"))
            .env("PORT", port.to_string())
            .env("ADMIN_TOKEN", TOKEN)
            .env("LD_PRELOAD", library()?)
            .env("FAKETIME_TIMESTAMP_FILE", &wall)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Ok(Self {
            server: serve(command, port)?,
            directory,
            port,
        })
    }

    /// The time this many days ago.
    fn lead_to(&self, ago: u32) -> Result<()> {
        let wall = self.directory.path().join("wall");
        Ok(std::fs::write(wall, format!("-{ago}d\n"))?)
    }

    fn issue(&self, number: usize) -> Result<Calling> {
        let wanted = json!({
            "tier": TIERS[number % TIERS.len()],
            "customer": CUSTOMERS[number % CUSTOMERS.len()],
            "maxCameras": 24 + number,
        });
        let license = self.administer("POST", "/api/admin/licenses", &wanted)?;
        let text = |name: &str| license[name].as_str().unwrap_or_default().to_owned();
        Ok(Calling {
            number,
            license_id: text("id"),
            key: text("licenseKey"),
        })
    }

    fn call(&self, site: &Calling, day: u32) -> Result<()> {
        let number = site.number;
        // They start one after the other, and some stop calling.
        let begins = u32::try_from(number / 2)?;
        let ends = match number % 12 {
            11 => 12,
            7 => DAYS - 2,
            _ => DAYS,
        };
        if !(begins..=ends).contains(&day) {
            return Ok(());
        }
        let place = format!(
            "{}, {}",
            CUSTOMERS[number % CUSTOMERS.len()],
            PLACES[number / CUSTOMERS.len()]
        );
        let mut body = json!({
            "licenseKey": site.key,
            "hardwareId": format!("{:032x}", 0x9e37_79b9_7f4a_7c15_u128 * (number as u128 + 3)),
            "installationId": format!("00000000-0000-4000-8000-{number:012x}"),
        });
        let name = if day == begins {
            "activate"
        } else {
            "validate"
        };
        if day == begins {
            body["installationName"] = place.into();
            body["installationVersion"] = VERSIONS[number % VERSIONS.len()].into();
        }
        self.site_asks(name, &body, &[])?;
        if number == 5 && day > DAYS - 3 {
            // A number that was never issued.
            self.site_asks("validate", &body, &[("X-License-Seq", "9000000000000")])?;
        }
        let cameras = 12 + number + usize::try_from(day / 5)? + usize::from(number % 9 == 4) * 20;
        body["usageMetrics"] = json!({"camerasInUse": cameras, "usersActive": 3 + number % 3, "storageUsedGb": 400 + day * 20});
        body["systemInfo"] = json!({
            "os_platform": "Linux", "os_release": "6.1.0", "os_version": "#1 SMP", "cpu_count": 8,
            "total_memory_gb": 16.0, "hostname": "recorder", "architecture": "x86_64",
        });
        for _ in 0..HEARTBEATS {
            self.site_asks("heartbeat", &body, &[])?;
        }
        Ok(())
    }

    fn site_asks(&self, name: &str, body: &Value, headers: &[(&str, &str)]) -> Result<()> {
        let path = format!("/api/licenses/{name}");
        ask_for(self.port, "POST", &path, headers, &body.to_string()).map(|_| ())
    }

    fn administer(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let token = format!("Bearer {TOKEN}");
        let headers = [("Authorization", token.as_str())];
        let answer = ask_for(self.port, method, path, &headers, &body.to_string())?;
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        if let Err(error) = stop(&mut self.server) {
            eprintln!("warning: {error}");
        }
    }
}

/// The library in Debian's package `faketime`.
fn library() -> Result<PathBuf> {
    let found = std::fs::read_dir("/usr/lib")?.flatten();
    let mut found = found.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    found
        .find(|path| path.exists())
        .context("libfaketime is missing")
}
