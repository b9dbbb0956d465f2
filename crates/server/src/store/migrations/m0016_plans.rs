//! Plans, the catalogue of what can be sold, and the terms that plans state. The tiers become plans.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;
use serde_json::json;

use super::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let catalogue = Table::create()
            .table("catalogue")
            .col(column("key").string_len(100).not_null().primary_key())
            .col(column("kind").string_len(16).not_null())
            .col(column("name").string_len(100).not_null())
            .col(column("unit").string_len(100).not_null())
            .col(column("description").text().not_null())
            .to_owned();
        manager.create_table(catalogue).await?;
        let plans = Table::create()
            .table("plans")
            .col(column("name").string_len(64).not_null())
            .col(column("version").integer().not_null())
            .col(column("published_at").timestamp())
            .col(column("author").string_len(255).not_null())
            .col(column("contents").json().not_null())
            .primary_key(Index::create().col("name").col("version"))
            .to_owned();
        manager.create_table(plans).await?;
        for column in [
            column("lease_hours").integer().take(),
            column("grace_hours").integer().take(),
            column("offline_days").integer().take(),
            column("updates_until").timestamp().take(),
            column("updates")
                .string_len(16)
                .not_null()
                .default("warn")
                .take(),
        ] {
            add_column(manager, "licenses", column).await?;
        }
        add_catalogue(manager).await?;
        add_plans(manager).await
    }
}

/// What was sold before there was a catalogue.
const FEATURES: [(&str, &str); 5] = [
    ("module.map_view", "Map view"),
    ("module.analytics_advanced", "Advanced analytics"),
    ("module.health_monitoring", "Health monitoring"),
    ("module.alarm_advanced", "Advanced alarms"),
    ("module.storage_optimization", "Storage optimization"),
];

#[expect(
    clippy::disallowed_methods,
    reason = "the table is new, and has no triggers"
)]
async fn add_catalogue(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let features = FEATURES.map(|(key, name)| (key, "feature", name, ""));
    let counts = [
        ("cameras", "count", "Cameras", "camera"),
        ("users", "count", "Users", "user"),
        ("storage_gb", "count", "Storage", "GB"),
    ];
    let mut insert = Query::insert();
    insert
        .into_table("catalogue")
        .columns(["key", "kind", "name", "unit", "description"]);
    for (key, kind, name, unit) in features.into_iter().chain(counts) {
        let values = [key, kind, name, unit, ""].map(Expr::value);
        insert.values(values).map_err(invalid)?;
    }
    manager.get_connection().execute(&insert).await?;
    Ok(())
}

/// The tiers as they were in the program.
#[expect(
    clippy::disallowed_methods,
    reason = "the table is new, and has no triggers"
)]
async fn add_plans(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut insert = Query::insert();
    insert
        .into_table("plans")
        .columns(["name", "version", "author", "contents"]);
    for (name, title, seats, features, cameras, users, storage) in [
        (
            "standard",
            "Standard",
            1,
            &FEATURES[..1],
            json!(16),
            json!(5),
            json!(2_000),
        ),
        (
            "professional",
            "Professional",
            1,
            &FEATURES[..3],
            json!(64),
            json!(20),
            json!(20_000),
        ),
        (
            "enterprise",
            "Enterprise",
            2,
            &FEATURES[..],
            json!("unlimited"),
            json!("unlimited"),
            json!("unlimited"),
        ),
    ] {
        let features = features.iter().map(|(key, _)| json!({"key": key}));
        let counts = [
            ("cameras", cameras),
            ("users", users),
            ("storage_gb", storage),
        ];
        let counts = counts.map(|(key, quantity)| json!({"key": key, "quantity": quantity}));
        let contents = json!({
            "title": title,
            "description": "",
            "trial": false,
            "terms": {"seats": seats, "moves": 3, "movesPeriodDays": 365, "updates": "warn"},
            "entitlements": features.chain(counts).collect::<Vec<_>>(),
        });
        let values: [Expr; 4] = [
            Expr::value(name),
            Expr::value(1),
            Expr::value("migration"),
            Expr::value(contents),
        ];
        insert.values(values).map_err(invalid)?;
    }
    manager.get_connection().execute(&insert).await?;
    Ok(())
}

fn invalid(error: impl std::fmt::Display) -> DbErr {
    DbErr::Custom(error.to_string())
}
