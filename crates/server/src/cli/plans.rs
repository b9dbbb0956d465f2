//! `license-server plans …`

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use license_console::escaped::{self, escaped};
use license_core::plan::PlanChoice;
use license_service::stdout::note_change;
use license_service::text_file;
use serde_json::{Value, json};

use crate::cli::invocation::Invocation;
use crate::cli::table;
use crate::licensing::applied_plans::Applied;
use crate::licensing::plan_file::PlanFile;
use crate::licensing::plan_words::{Difference, differences, duration_words, plan_lines};
use crate::licensing::plans::{apply, find_plan};
use crate::open::open_store;
use crate::store::plans::{PublishedPlan, newest};

#[derive(Debug, Subcommand)]
pub(super) enum Plans {
    /// Publish the plans and catalogue entries of a reviewed TOML file
    #[command(after_help = "Examples:\n  \
        license-server plans apply plans.toml --dry-run\n  \
        license-server plans apply plans.toml\n\n\
        A changed plan becomes a new version; existing licenses keep their versions. Plans and \
        entries that are not in the file do not change.")]
    Apply {
        /// File; - is standard input
        file: PathBuf,

        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },

    /// List the newest version of each plan
    #[command(after_help = "Example:\n  license-server plans list")]
    List,

    /// Show a version of a plan
    #[command(after_help = "Examples:\n  \
        license-server plans show professional\n  license-server plans show professional@3 --json\n  \
        license-server plans show professional --toml > professional.toml")]
    Show {
        /// Plan, with or without a version; default is the newest version
        #[arg(value_name = "NAME[@VERSION]")]
        plan: PlanChoice,

        /// Print the plan as a file for 'plans apply'
        #[arg(long, conflicts_with = "json")]
        toml: bool,
    },
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Plans,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    match command {
        Plans::Apply { file, dry_run } => {
            let file = PlanFile::parse(&text_file::read_argument(&file)?)?;
            let store = open_store(&invocation.storage).await?;
            let change = invocation.change(&store, now).await?;
            let applied = apply(&store, &file, &change, !dry_run).await?;
            if !dry_run {
                note_change("the plans were published; see 'license-server plans list'");
            }
            store.close().await;
            print_applied(&applied, dry_run, json)
        }
        Plans::List => {
            let store = open_store(&invocation.storage).await?;
            let plans = newest(store.reader()).await?;
            store.close().await;
            print_list(&plans, json)
        }
        Plans::Show { plan, toml } => {
            let store = open_store(&invocation.storage).await?;
            let plan = find_plan(store.reader(), &plan).await?;
            store.close().await;
            match toml {
                true => print!("{}", PlanFile::of_plan(&plan)),
                false => print_plan(&plan, json)?,
            }
            Ok(())
        }
    }
}

fn print_applied(applied: &Applied, is_dry_run: bool, json: bool) -> anyhow::Result<()> {
    if json {
        let plans = applied.plans.iter().map(|it| to_json(&it.after));
        let entries = applied.entries.iter().map(|it| &it.after);
        let applied = json!({
            "stored": !is_dry_run,
            "catalogue": entries.collect::<Vec<_>>(),
            "plans": plans.collect::<Vec<_>>(),
        });
        println!("{}", escaped::json(&applied)?);
        return Ok(());
    }
    let differences = differences(applied);
    let lines: Vec<String> = differences.iter().flat_map(Difference::lines).collect();
    match (lines.is_empty(), is_dry_run) {
        (true, _) => println!("Nothing to change: the database matches the file."),
        (false, true) => println!("Dry run: nothing was changed. This would be published:"),
        (false, false) => println!("Published:"),
    }
    for line in lines {
        println!("{}", escaped(&line));
    }
    Ok(())
}

fn print_list(plans: &[PublishedPlan], json: bool) -> anyhow::Result<()> {
    if json {
        let plans: Vec<Value> = plans.iter().map(to_json).collect();
        println!("{}", escaped::json(&plans)?);
        return Ok(());
    }
    let rows: Vec<_> = plans
        .iter()
        .map(|plan| {
            let contents = &plan.contents;
            [
                plan.version.to_string(),
                contents.title.clone(),
                duration_words(contents),
                if contents.trial { "yes" } else { "no" }.to_owned(),
                table::time(plan.published_at, ""),
                plan.author.clone(),
            ]
        })
        .collect();
    let head = ["PLAN", "TITLE", "DURATION", "TRIAL", "PUBLISHED", "AUTHOR"];
    table::print(head, &rows);
    Ok(())
}

fn print_plan(plan: &PublishedPlan, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", escaped::json(&to_json(plan))?);
        return Ok(());
    }
    println!("{}\n", plan.version);
    for line in plan_lines(&plan.contents) {
        println!("  {}", escaped(&line));
    }
    Ok(())
}

/// As in the API.
fn to_json(plan: &PublishedPlan) -> Value {
    json!({
        "name": plan.version.name,
        "version": plan.version.version,
        "publishedAt": plan.published_at,
        "author": plan.author,
        "contents": plan.contents,
    })
}
