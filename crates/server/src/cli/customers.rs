//! `license-server customers …`

use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, value_parser};
use license_console::escaped::{self, escaped};
use license_service::clock::SystemClock;
use license_service::cursor::{InvalidCursor, from_text, to_text};
use license_service::stderr::say;
use license_service::stdout::note_change;
use sea_orm::ConnectionTrait;

use crate::audit::Author;
use crate::cli::invocation::Invocation;
use crate::cli::listing::{DEFAULT_LIMIT, JsonArray};
use crate::cli::table;
use crate::config::Storage;
use crate::licensing::clock;
use crate::licensing::customers::{CustomerEdit, add, edit, look_up, merge};
use crate::open::open_store;
use crate::store::customers::{self, Contact, Customer, CustomersCursor, CustomersSearch, list};
use crate::store::licenses::{MAX_LISTED, count_of_customers};
use crate::store::page::PageStart;

/// Customers per query for JSON.
const PAGE_SIZE: u64 = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum Customers {
    /// List customers, sorted by name
    #[command(after_help = "Examples:\n  \
        license-server customers list\n  \
        license-server customers list --search harbour --json")]
    List(List),

    /// Show one customer
    #[command(after_help = "Example:\n  license-server customers show 'Harbour Ltd'")]
    Show {
        /// Customer: id, name or reference
        customer: String,
    },

    /// Add a customer
    #[command(after_help = "Example:\n  \
        license-server customers add 'Harbour Ltd' --reference K-1017 \
        --contact 'Ana Silva;ana@harbour.example;+351 21 000 00 00'")]
    Add {
        /// Name of the customer, as shown in licenses
        name: String,

        #[command(flatten)]
        details: Details,
    },

    /// Edit a customer; a new name appears in the next lease of each of the customer's licenses
    #[command(after_help = "Examples:\n  \
        license-server customers edit K-1017 --name 'Harbour Limited'\n  \
        license-server customers edit K-1017 --reference ''")]
    Edit {
        /// Customer: id, name or reference
        customer: String,

        /// New name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,

        #[command(flatten)]
        details: Details,
    },

    /// Merge a customer into another one: the licenses of the merged customer are amended, and its
    /// record points to the remaining customer
    #[command(after_help = "Examples:\n  \
        license-server customers merge 'Harbor Ltd' 'Harbour Ltd' --dry-run\n  \
        license-server customers merge 'Harbor Ltd' 'Harbour Ltd'")]
    Merge {
        /// Customer to merge: id, name or reference
        customer: String,

        /// Customer that remains: id, name or reference
        into: String,

        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only customers whose name or reference contains this text
    #[arg(long, default_value = "", value_name = "TEXT")]
    search: String,

    /// Maximum number of customers, up to 10000; default is 100 in a table, and all with
    /// --json
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MAX_LISTED))]
    limit: Option<u64>,

    /// Continue after the page that ended with this cursor
    #[arg(long, value_name = "CURSOR", value_parser = from_text::<CustomersCursor>)]
    cursor: Option<CustomersCursor>,
}

#[derive(Debug, Args)]
pub(super) struct Details {
    /// Your own reference, such as the customer number in your accounting system; '' removes it
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,

    /// Contact as 'name;email;phone'; can be repeated; replaces all contacts, '' removes them
    #[arg(long, value_name = "CONTACT")]
    contact: Vec<NewContact>,

    /// Notes
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
}

/// A contact; none for an empty text.
#[derive(Clone, Debug)]
struct NewContact(Option<Contact>);

impl FromStr for NewContact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        let mut parts = text.split(';').map(|part| part.trim().to_owned());
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let contact = Contact {
            name: part().unwrap_or_default(),
            email: part(),
            phone: part(),
        };
        match parts.next() {
            None => Ok(Self(Some(contact))),
            Some(_) => Err("expected 'name;email;phone'".to_owned()),
        }
    }
}

impl Details {
    fn edit(self, name: Option<String>) -> CustomerEdit {
        let is_stated = !self.contact.is_empty();
        let contacts = self.contact.into_iter().filter_map(|it| it.0).collect();
        CustomerEdit {
            name,
            reference: self.reference.map(Some),
            contacts: is_stated.then_some(contacts),
            notes: self.notes,
            known_at: None,
        }
    }
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Customers,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    match command {
        Customers::List(command) => show_all(&invocation.storage, command, json).await,
        Customers::Show { customer } => {
            let store = open_store(&invocation.storage).await?;
            let customer = look_up(store.reader(), &customer).await?;
            store.close().await;
            print(&customer, json)
        }
        Customers::Add { name, details } => {
            let store = open_store(&invocation.storage).await?;
            let change = invocation.change(&store, now).await?;
            let customer = add(&store, &details.edit(Some(name)), &change).await?;
            note_change("the customer was added; see 'license-server customers list'");
            store.close().await;
            print(&customer, json)
        }
        Customers::Edit {
            customer,
            name,
            details,
        } => {
            let store = open_store(&invocation.storage).await?;
            let change = invocation.change(&store, now).await?;
            let customer = edit(&store, &customer, &details.edit(name), &change).await?;
            note_change("the customer was changed; see 'license-server customers show'");
            store.close().await;
            print(&customer, json)
        }
        Customers::Merge {
            customer,
            into,
            dry_run,
        } => merge_into(invocation, &customer, &into, dry_run, json).await,
    }
}

async fn show_all(storage: &Storage, command: List, json: bool) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let search = CustomersSearch {
        text: command.search,
        ..CustomersSearch::default()
    };
    let start = match command.cursor {
        Some(cursor) if search.has(&cursor) => PageStart::After(cursor),
        Some(_) => anyhow::bail!(InvalidCursor),
        None => PageStart::default(),
    };
    let db = store.reader();
    let total = customers::count(db, &search).await?;
    let (shown, next) = match json {
        true => print_json(db, &search, start, command.limit.unwrap_or(u64::MAX)).await?,
        false => {
            let limit = command.limit.unwrap_or(DEFAULT_LIMIT);
            print_table(db, &search, &start, limit).await?
        }
    };
    store.close().await;
    if let Some(cursor) = next {
        let cursor = to_text(&cursor);
        say(format_args!(
            "note: {shown} of {total} customers; continue with --cursor {cursor}"
        ));
    }
    Ok(())
}

/// Prints an array of customers page by page, so that it can be arbitrarily long. Returns how many it
/// has, and where the next page begins, if there are more.
async fn print_json(
    db: &impl ConnectionTrait,
    search: &CustomersSearch,
    mut start: PageStart<CustomersCursor>,
    limit: u64,
) -> anyhow::Result<(u64, Option<CustomersCursor>)> {
    let mut array = JsonArray::begin();
    let mut printed = 0;
    let next = loop {
        let size = (limit - printed).min(PAGE_SIZE);
        let found = list(db, search, &start, size).await?;
        let last = found.last_of_more();
        let last = last.map(|customer| search.cursor(customer));
        for customer in &found.rows {
            array.push(customer)?;
            printed += 1;
        }
        match last {
            Some(last) if printed < limit => start = PageStart::After(last),
            next => break next,
        }
    };
    array.end();
    Ok((printed, next))
}

/// The same as a table.
async fn print_table(
    db: &impl ConnectionTrait,
    search: &CustomersSearch,
    start: &PageStart<CustomersCursor>,
    limit: u64,
) -> anyhow::Result<(u64, Option<CustomersCursor>)> {
    let found = list(db, search, start, limit).await?;
    let next = found.last_of_more().map(|last| search.cursor(last));
    let found = found.rows;
    let ids = found.iter().map(|it| it.id.clone()).collect();
    let licenses = count_of_customers(db, ids).await?;
    if found.is_empty() {
        println!("No matching customers.");
    } else {
        let rows: Vec<_> = found
            .iter()
            .map(|it| {
                [
                    it.name.clone(),
                    it.reference.clone().unwrap_or_default(),
                    licenses
                        .get(&it.id)
                        .copied()
                        .unwrap_or_default()
                        .to_string(),
                    table::time(Some(it.created_at), ""),
                    it.id.clone(),
                ]
            })
            .collect();
        table::print(["NAME", "REFERENCE", "LICENSES", "ADDED", "ID"], &rows);
    }
    Ok((found.len() as u64, next))
}

/// Prints a customer, one field per line.
fn print(customer: &Customer, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", escaped::json(customer)?);
        return Ok(());
    }
    let contacts = customer.contacts.iter().map(|it| {
        let parts = [Some(&it.name), it.email.as_ref(), it.phone.as_ref()];
        let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
        parts.cloned().collect::<Vec<_>>().join(", ")
    });
    let merged = customer.merged_into.clone();
    println!("{}", escaped(&customer.name));
    for (label, text) in [
        ("Id", customer.id.clone()),
        ("Reference", customer.reference.clone().unwrap_or_default()),
        ("Contacts", contacts.collect::<Vec<_>>().join("; ")),
        ("Notes", customer.notes.clone()),
        ("Merged into", merged.unwrap_or_default()),
        ("Added", table::time(Some(customer.created_at), "")),
    ] {
        if !text.is_empty() {
            println!("  {label:<11} {}", escaped(&text));
        }
    }
    Ok(())
}

async fn merge_into(
    invocation: &Invocation,
    customer: &str,
    into: &str,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    let signing_clock = clock::open(&store, Arc::new(SystemClock)).await?;
    let author = Author::new(invocation.by(&store).await?, &SystemClock, &signing_clock);
    let merged = merge(&store, customer, into, dry_run, &author).await?;
    if !dry_run {
        note_change("the customers were merged; see 'license-server customers show'");
    }
    store.close().await;
    if json {
        println!("{}", escaped::json(&merged)?);
        return Ok(());
    }
    let name = escaped(&merged.customer.name);
    let amended = merged.amended;
    match dry_run {
        true => {
            println!(
                "Dry run: nothing was changed. Licenses that would be moved to {name}: {amended}."
            );
        }
        false => println!("Licenses moved to {name}: {amended}."),
    }
    for left in &merged.not_amended {
        let (key, why) = (escaped(&left.license_key), escaped(&left.why));
        println!("  {key} cannot be amended, and is moved without an amendment: {why}");
    }
    Ok(())
}
