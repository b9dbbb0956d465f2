//! `cargo xtask attack`: attacks that once worked, against the real programs on
//! loopback.
//!
//! Each attack starts its own License Server and License Client, performs the attack and
//! reports the result. Regression tests check each of them in more detail; this command
//! shows that the built programs withstand them together.

mod browsers;
mod connections;
mod cpu;
mod floods;
mod malformed;
mod middleman;
mod paths;
mod seats;
mod secrets;
mod time;
mod unauthenticated;

use anyhow::{Result, bail};
use clap::Args;

use crate::program::now;
use crate::stage::{Profile, Size, Stage};

/// Which attacks to run, and against which programs.
#[derive(Args)]
pub(crate) struct Attack {
    /// Only attacks whose name contains this text; can be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Size of the attacks
    #[arg(long, value_enum, default_value_t = Size::Small)]
    size: Size,

    /// Which build to attack
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,

    /// Attack the existing build
    #[arg(long)]
    no_build: bool,

    /// List the attacks without running them
    #[arg(long)]
    list: bool,
}

impl Attack {
    /// Runs all attacks at a small size, against the programs built by the tests.
    pub(crate) fn on_tested_programs() -> Self {
        Self {
            only: Vec::new(),
            size: Size::Small,
            profile: Profile::Dev,
            no_build: true,
            list: false,
        }
    }
}

/// The result of an attack.
struct Outcome {
    held: bool,
    /// A short description.
    seen: String,
}

impl Outcome {
    fn new(held: bool, seen: impl Into<String>) -> Self {
        let seen = seen.into();
        Self { held, seen }
    }
}

/// An attack.
struct Entry {
    name: &'static str,
    /// The action of the attacker.
    does: &'static str,
    /// The result when the attack was found.
    before: &'static str,
    attempt: fn(&Stage) -> Result<Outcome>,
}

const ATTACKS: [Entry; 22] = [
    Entry {
        name: "cpu",
        does: "gate checks with unusual paths, queries and headers",
        before: "243 ms for one check, 3 s for a check with 45 headers",
        attempt: cpu::gate_questions,
    },
    Entry {
        name: "open-routes",
        does: "unauthenticated requests that make the service call other services",
        before: "a pool, a transaction and a call for each request",
        attempt: unauthenticated::open_routes,
    },
    Entry {
        name: "seat-cycling",
        does: "activate here, deactivate by other means, activate elsewhere",
        before: "every machine stays active",
        attempt: seats::cycling,
    },
    Entry {
        name: "offline-cycling",
        does: "activate and deactivate in turn, with request files",
        before: "five 90-day leases on one seat in a second",
        attempt: seats::offline_cycling,
    },
    Entry {
        name: "clones",
        does: "a copy that omits X-License-Seq",
        before: "not noticed",
        attempt: seats::hidden_clone,
    },
    Entry {
        name: "time-file",
        does: "delete time.json, and restart an expired site offline",
        before: "in grace again",
        attempt: time::time_file,
    },
    Entry {
        name: "server-clock",
        does: "a License Server whose clock is years ahead",
        before: "signs leases that end in 2038",
        attempt: time::server_ahead,
    },
    Entry {
        name: "server-behind",
        does: "a clock two minutes behind, after a rotation and a revocation",
        before: "500 for every request",
        attempt: time::server_behind,
    },
    Entry {
        name: "rotated-deactivation",
        does: "deactivate right after the keys were rotated",
        before: "'was not deactivated' is reported, but the seat is gone",
        attempt: seats::deactivation_after_rotation,
    },
    Entry {
        name: "odd-urls",
        does: "passwords in URLs that are not parsed as intended",
        before: "shown by doctor, logs and errors",
        attempt: secrets::odd_urls,
    },
    Entry {
        name: "command-lines",
        does: "look at the output of ps, and at the files that compose.yaml uses",
        before: "tokens and keys are arguments; files are 0644",
        attempt: secrets::command_lines,
    },
    Entry {
        name: "fragment",
        does: "a gated path behind a '#'",
        before: "passes",
        attempt: paths::fragment,
    },
    Entry {
        name: "method",
        does: "a second header that names another method",
        before: "the first header is used",
        attempt: paths::method,
    },
    Entry {
        name: "middleman",
        does: "turn a validation into a deactivation",
        before: "the license lapses",
        attempt: middleman::deactivates,
    },
    Entry {
        name: "memory",
        does: "connections that hold a body one byte short",
        before: "memory grows from 81 MB to 718 MB",
        attempt: connections::memory,
    },
    Entry {
        name: "stalls",
        does: "HTTP/2 without TLS, and connections that send only part of a request",
        before: "HTTP/2 is served, and its connections stay open indefinitely",
        attempt: connections::stalls,
    },
    Entry {
        name: "growth",
        does: "activate and deactivate with one key in a loop",
        before: "157 cycles a second, 90 GB a day",
        attempt: floods::growth,
    },
    Entry {
        name: "log-growth",
        does: "refused sign-ins and wrong tokens in a loop",
        before: "148 bytes each, 64 GB a day",
        attempt: floods::log_growth,
    },
    Entry {
        name: "lockout",
        does: "calls without a token, then a sign-in with the right one",
        before: "429 for everyone behind the proxy",
        attempt: browsers::lockout,
    },
    Entry {
        name: "rebinding",
        does: "a website whose name points to the shipped nginx (DNS rebinding)",
        before: "can make changes as the operator",
        attempt: browsers::rebinding,
    },
    Entry {
        name: "malformed",
        does: "two lengths, foreign targets, deep JSON, compressed bodies",
        before: "held",
        attempt: malformed::requests,
    },
    Entry {
        name: "framing",
        does: "framing by another site",
        before: "/docs can be framed",
        attempt: browsers::framing,
    },
];

pub(crate) fn run(command: &Attack) -> Result<()> {
    let chosen: Vec<&Entry> = ATTACKS
        .iter()
        .filter(|it| command.only.is_empty() || command.only.iter().any(|o| it.name.contains(o)))
        .collect();
    if command.list {
        for entry in chosen {
            println!("{:<21} {}", entry.name, entry.does);
        }
        return Ok(());
    }
    if chosen.is_empty() {
        bail!("no attack has that name; use --list to list all attacks");
    }
    if !command.no_build {
        command.profile.build()?;
    }
    let begun = now();
    let mut worked = 0_u32;
    println!(
        "\n{:<21} {:<8} {:>5}  before → now",
        "attack", "result", "s"
    );
    for entry in chosen {
        let start = now();
        let stage = Stage::new(command.size, command.profile)?;
        // An attack that could not be run counts as not withstood.
        let outcome = (entry.attempt)(&stage)
            .unwrap_or_else(|error| Outcome::new(false, format!("{error:#}")));
        worked += u32::from(!outcome.held);
        println!(
            "{:<21} {:<8} {:>5.1}  {} → {}",
            entry.name,
            if outcome.held { "held" } else { "WORKS" },
            start.elapsed().as_secs_f64(),
            entry.before,
            outcome.seen,
        );
    }
    println!("\n{:.0} s", begun.elapsed().as_secs_f64());
    if worked > 0 {
        bail!("{worked} attacks succeeded");
    }
    Ok(())
}
