//! `license-server addons list`

use license_core::add_on::AddOnGrant;
use license_core::entitlement::Quantity;
use license_service::cursor::to_text;
use license_service::stderr::say;
use sea_orm::ConnectionTrait;

use super::List;
use crate::cli::listing::{DEFAULT_LIMIT, JsonArray};
use crate::cli::{license_key, table};
use crate::config::Storage;
use crate::licensing::add_ons::ShownAddOn;
use crate::licensing::look_up::look_up;
use crate::open::open_store;
use crate::store::add_ons::{AddOnsCursor, AddOnsQuery, StoredAddOn, count, newest};
use crate::store::page::Page;

pub(super) async fn list(storage: &Storage, command: List, json: bool) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let license = match command.license {
        Some(license) => Some(look_up(&store, &license_key(license)?).await?.id),
        None => None,
    };
    let query = AddOnsQuery {
        license,
        state: command.state,
        ..AddOnsQuery::default()
    };
    let db = store.reader();
    let total = count(db, &query).await?;
    let (shown, next) = match json {
        true => print_json(db, &query, command.cursor, command.limit.unwrap_or(total)).await?,
        false => {
            let limit = command.limit.unwrap_or(DEFAULT_LIMIT);
            let found = newest(db, &query, command.cursor.as_ref(), limit).await?;
            print_table(&found.rows);
            (found.rows.len() as u64, after(&found))
        }
    };
    store.close().await;
    if let Some(cursor) = next {
        let cursor = to_text(&cursor);
        say(format_args!(
            "note: {shown} of {total} add-on keys; continue with --cursor {cursor}"
        ));
    }
    Ok(())
}

/// Where the page after this one begins.
fn after(page: &Page<StoredAddOn>) -> Option<AddOnsCursor> {
    let last = page.last_of_more()?;
    Some(AddOnsCursor { below: last.id })
}

/// Prints an array of add-on keys page by page, so that it can be arbitrarily long. Returns how many it
/// has, and where the next page begins, if there are more.
async fn print_json(
    db: &impl ConnectionTrait,
    query: &AddOnsQuery,
    mut start: Option<AddOnsCursor>,
    limit: u64,
) -> anyhow::Result<(u64, Option<AddOnsCursor>)> {
    let mut array = JsonArray::begin();
    let mut printed = 0;
    let next = loop {
        let page = newest(db, query, start.as_ref(), limit - printed).await?;
        let next = after(&page);
        for add_on in page.rows {
            array.push(&ShownAddOn::from(add_on))?;
            printed += 1;
        }
        match next {
            Some(_) if printed < limit => start = next,
            next => break next,
        }
    };
    array.end();
    Ok((printed, next))
}

fn print_table(found: &[StoredAddOn]) {
    if found.is_empty() {
        println!("No matching add-on keys.");
        return;
    }
    let rows: Vec<_> = found.iter().map(row).collect();
    let head = [
        "NUMBER", "KEY", "STATE", "GRANTS", "ORDER", "ISSUED", "REDEEMED",
    ];
    table::print(head, &rows);
}

fn row(add_on: &StoredAddOn) -> [String; 7] {
    let grants: Vec<String> = add_on.add_on.grants.iter().map(words).collect();
    [
        add_on.id.to_string(),
        add_on.masked.clone(),
        add_on.state().as_str().to_owned(),
        grants.join(", "),
        add_on.order.clone().unwrap_or_default(),
        table::time(Some(add_on.created_at), ""),
        table::time(add_on.redeemed_at, ""),
    ]
}

/// What is granted, such as `16 cameras until 2027-07-29 23:59:59`.
pub(super) fn words(grant: &AddOnGrant) -> String {
    let mut text = match grant.quantity {
        None => grant.key.clone(),
        Some(Quantity::Of(number)) => format!("{number} {}", grant.key),
        Some(Quantity::Unlimited) => format!("unlimited {}", grant.key),
    };
    let bounds = [
        grant
            .from
            .map(|at| format!("from {}", table::time(Some(at), ""))),
        grant
            .until
            .map(|at| format!("until {}", table::time(Some(at), ""))),
        grant.duration.map(|duration| format!("for {duration}")),
    ];
    for bound in bounds.into_iter().flatten() {
        text = format!("{text} {bound}");
    }
    text
}
