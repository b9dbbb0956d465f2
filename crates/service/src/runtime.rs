//! Starts the runtime where threads may be limited.
//!
//! The library panics if the system refuses a thread, and a runtime with only some of its threads
//! then waits for the others forever.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::{io, panic, process, thread};

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use crate::stderr::say;

/// Number of threads in addition to the runtime's: for the log, for files, and for SQLite
/// connections, each of which has one.
const OTHER_THREADS: usize = 24;
/// The advice if a thread cannot be started.
pub const RAISE_THREADS: &str = "raise the limit on threads: pids_limit of the container, \
    TasksMax of the systemd unit, or 'ulimit -u' of the user; if the address space is limited \
    ('ulimit -v', LimitAS of the unit) or memory is short, raise that limit or add memory";

/// Starts the runtime.
///
/// # Errors
/// If the system refuses the threads that a program needs, with advice.
pub fn start() -> anyhow::Result<Runtime> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = workers + OTHER_THREADS;
    check(threads).with_context(|| format!("cannot start {threads} threads; {RAISE_THREADS}"))?;
    // Other programs of the user may have taken the threads since.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("a panic");
        say(format_args!(
            "error: cannot start the runtime: {why}; {RAISE_THREADS}"
        ));
        process::exit(1)
    }));
    let runtime = Builder::new_multi_thread().enable_all().build();
    panic::set_hook(hook);
    runtime.context("cannot start the runtime")
}

/// Starts this number of threads together, and ends them.
fn check(threads: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = || drop(gate.lock());
        let started: io::Result<Vec<_>> = (0..threads)
            .map(|_| thread::Builder::new().spawn_scoped(scope, wait))
            .collect();
        drop(closed);
        for thread in started? {
            // They do nothing that could panic.
            let _ = thread.join();
        }
        Ok(())
    })
}
