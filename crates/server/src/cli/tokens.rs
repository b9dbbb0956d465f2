//! `license-server tokens …`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use license_console::escaped::{self, escaped};
use license_service::output_file::{self, PreparedFile, Readers};
use license_service::stderr::say;
use license_service::stdout::note_change;
use serde::Serialize;

use crate::cli::invocation::Invocation;
use crate::cli::{additions, table};
use crate::config::Storage;
use crate::licensing::tokens::{ShownNamedToken, ShownNewToken, TokenRequest, add, revoke};
use crate::open::open_store;
use crate::store::admin_tokens::{NamedToken, TokensCursor, newest};

/// Tokens per query.
const AT_A_TIME: u64 = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum Tokens {
    /// Create a token and print it; the token cannot be shown again
    #[command(after_help = "Examples:\n  \
        license-server tokens add ana --note 'Sales, Lisbon'\n  \
        license-server tokens add shop --expires 2027-12-31 --output shop-token")]
    Add(Add),

    /// List all tokens, newest first, including revoked ones
    #[command(after_help = "Examples:\n  \
        license-server tokens list\n  license-server tokens list --json")]
    List,

    /// Revoke a token, and end the console sessions that were started with it
    #[command(after_help = "Example:\n  license-server tokens revoke ana")]
    Revoke {
        /// Name of the token
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Name of the person or program, which becomes the author of changes: lower-case letters,
    /// digits, '.', '-' and '_'
    name: String,

    /// Last day, or exact end, of the token (UTC); default is no end
    #[arg(long, value_name = "DATE", value_parser = additions::end)]
    expires: Option<DateTime<Utc>>,

    /// Free-text note
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    /// File to write the token to, readable only by you; default is standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Tokens,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    match command {
        Tokens::Add(command) => create(invocation, command, json, now).await,
        Tokens::List => list(&invocation.storage, json, now).await,
        Tokens::Revoke { name } => end(invocation, &name, json, now).await,
    }
}

async fn create(
    invocation: &Invocation,
    command: Add,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let request = TokenRequest {
        name: command.name,
        expires_at: command.expires,
        note: command.note,
    };
    let output = match command.output {
        Some(file) => Some((output_file::prepare(&file, Readers::Owner)?, file)),
        None => None,
    };
    let store = open_store(&invocation.storage).await?;
    let (token, known) = add(&store, &request, &invocation.change(&store, now).await?).await?;
    note_change("the token was created; see 'license-server tokens list'");
    store.close().await;
    if let Some((prepared, file)) = output {
        return write(prepared, &file, &token, known, json, now);
    }
    if json {
        let known = ShownNamedToken::of(known, now);
        println!("{}", escaped::json(&ShownNewToken { token, known })?);
        return Ok(());
    }
    println!("{token}");
    say(format_args!(
        "note: this is the only time that the token of {} is shown; treat it like a password. Use \
         it to sign in to the console; programs send it as 'Authorization: Bearer'",
        known.name
    ));
    Ok(())
}

/// Writes a new token to a file.
fn write(
    prepared: PreparedFile,
    file: &Path,
    token: &str,
    known: NamedToken,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    prepared.write(&format!("{token}\n")).with_context(|| {
        let name = &known.name;
        format!("the token was created, but not written: revoke it with 'tokens revoke {name}'")
    })?;
    if json {
        let known = ShownNamedToken::of(known, now);
        println!("{}", escaped::json(&WrittenToken { file, known })?);
    } else {
        let (name, file) = (known.name, escaped(&file.to_string_lossy()));
        println!("Wrote the token of {name} to {file}");
    }
    Ok(())
}

/// A token that was written to a file.
#[derive(Serialize)]
struct WrittenToken<'a> {
    file: &'a Path,
    #[serde(flatten)]
    known: ShownNamedToken,
}

async fn list(storage: &Storage, json: bool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let mut tokens = Vec::new();
    let mut after = None;
    loop {
        let found = newest(store.reader(), after.as_ref(), AT_A_TIME)
            .await?
            .rows;
        let Some(last) = found.last() else { break };
        after = Some(TokensCursor { below: last.id });
        let shown = found.into_iter().map(|it| ShownNamedToken::of(it, now));
        tokens.extend(shown);
    }
    store.close().await;
    if json {
        println!("{}", escaped::json(&tokens)?);
        return Ok(());
    }
    if tokens.is_empty() {
        println!("No tokens. Create one with 'license-server tokens add NAME'.");
        return Ok(());
    }
    let rows: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            [
                token.name,
                token.status.as_str().to_owned(),
                table::time(Some(token.created_at), ""),
                token.created_by,
                table::time(token.expires_at, "never"),
                table::time(token.last_used_at, "never"),
                token.note.unwrap_or_default(),
            ]
        })
        .collect();
    let head = [
        "NAME",
        "STATUS",
        "CREATED",
        "BY",
        "EXPIRES",
        "LAST USED",
        "NOTE",
    ];
    table::print(head, &rows);
    Ok(())
}

async fn end(
    invocation: &Invocation,
    name: &str,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    let token = revoke(&store, name, &invocation.change(&store, now).await?).await?;
    note_change("the token was revoked; see 'license-server tokens list'");
    store.close().await;
    if json {
        let token = ShownNamedToken::of(token, now);
        println!("{}", escaped::json(&token)?);
    } else {
        println!("The token of {name} is revoked. Running servers reject it within 3 seconds.");
    }
    Ok(())
}
