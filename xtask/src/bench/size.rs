//! The sizes of the programs.

use anyhow::{Context as _, Result};

use super::plan::Plan;
use super::results::Results;

pub(super) fn measure(plan: &Plan, results: &mut Results) -> Result<()> {
    if !plan.is_release() {
        println!("skipped: only release builds have the size of the shipped programs");
        return Ok(());
    }
    for (id, name) in [
        ("client-size", "license-client"),
        ("server-size", "license-server"),
    ] {
        let file = plan.profile.directory().join(name);
        let bytes = std::fs::metadata(&file)
            .with_context(|| format!("{} is not built", file.display()))?
            .len();
        results.add(id, bytes as f64 / 1e6)?;
    }
    Ok(())
}
