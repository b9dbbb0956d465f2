//! Runs a program on a runtime: starts it where threads may be limited, and ends it without waiting
//! for system calls that do not return.
//!
//! The library panics if the system refuses a thread, and a runtime with only some of its threads
//! then waits for the others forever. A name server that does not answer keeps the thread that asks
//! it for up to 40 s (`getaddrinfo`), and the library waits for such threads when a runtime is
//! dropped.

use std::io::ErrorKind;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
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

/// The advice if the system does not permit threads at all (EPERM). glibc starts them with a system
/// call that older container runtimes do not know and refuse; it uses another one only if the
/// answer is ENOSYS.
const PERMIT_THREADS: &str = "the seccomp filter of the container refuses the system call clone3: \
    update Docker to 20.10.10 or newer, with libseccomp 2.5 or newer, or, to check whether that is \
    the cause, run the container with --security-opt seccomp=unconfined";
/// The advice if there is no memory for a thread.
const ADD_MEMORY: &str = "add memory, or raise the memory limit of the container or the unit, or \
    the limit on the address space ('ulimit -v', LimitAS of the unit)";

/// Time that threads have to end after the program has ended. A program awaits what it must
/// complete; this is for writes of files that nothing awaits any more.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs a program on a new runtime until it ends. Threads that then still wait for the system, such
/// as for a name server, are left behind; the end of the process ends them.
///
/// # Errors
/// The error of the program; or if the system refuses the threads that a program needs, with
/// advice.
pub fn run<T>(program: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = start()?;
    let done = runtime.block_on(program);
    runtime.shutdown_timeout(END_TIMEOUT);
    done
}

fn start() -> anyhow::Result<Runtime> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = workers + OTHER_THREADS;
    check(threads).map_err(|error| {
        let advice = advice(error.kind());
        anyhow::Error::new(error).context(format!("cannot start {threads} threads; {advice}"))
    })?;
    // Other programs of the user may have taken the threads since.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("a panic");
        let advice = advice(kind_in(why));
        say(format_args!(
            "error: cannot start the runtime: {why}; {advice}"
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

/// What to do about a refused thread.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::PermissionDenied => PERMIT_THREADS,
        ErrorKind::OutOfMemory => ADD_MEMORY,
        // EAGAIN: a limit, and what glibc reports for most failures to get memory.
        _ => RAISE_THREADS,
    }
}

/// The kind of the system's error in a text of the standard library.
fn kind_in(text: &str) -> ErrorKind {
    let number = text.split_once("(os error ");
    let number = number.and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
    number.map_or(ErrorKind::Other, |number| {
        io::Error::from_raw_os_error(number).kind()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn a_system_call_that_does_not_return_delays_no_end() {
        let start = SystemClock.running();
        let done = run(async {
            // As a name server that does not answer.
            let waiting = || thread::sleep(Duration::from_secs(15));
            let timeout = Duration::from_millis(50);
            let asked = tokio::time::timeout(timeout, tokio::task::spawn_blocking(waiting));
            Ok(asked.await.is_err())
        });
        assert!(done.unwrap());
        assert!(SystemClock.running() - start < Duration::from_secs(5));
    }

    #[test]
    fn a_write_that_has_started_is_completed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let written = file.clone();
        let done = run(async move {
            let (start, started) = tokio::sync::oneshot::channel();
            drop(tokio::task::spawn_blocking(move || {
                let _ = start.send(());
                thread::sleep(Duration::from_millis(50));
                std::fs::write(written, "complete")
            }));
            Ok(started.await?)
        });
        done.unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "complete");
    }

    #[test]
    fn the_advice_on_refused_threads_depends_on_the_systems_error() {
        for (number, said) in [
            (1, "update Docker to 20.10.10 or newer"),
            (11, "raise the limit on threads: pids_limit"),
            (12, "add memory"),
            (22, "raise the limit on threads"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert!(advice(error.kind()).contains(said), "{error}");
            let panic = format!("OS can't spawn worker thread: {error}");
            assert_eq!(advice(kind_in(&panic)), advice(error.kind()), "{panic}");
        }
        assert_eq!(advice(kind_in("a panic")), RAISE_THREADS);
    }
}
