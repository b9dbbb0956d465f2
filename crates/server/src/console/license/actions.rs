//! The actions on a license, each with its confirmation: change its end or its status, and free or
//! release a seat.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::{Extension, Form};
use license_core::plan::LicenseEnd;
use serde::Deserialize;

use super::address;
use crate::app::App;
use crate::audit::Actor;
use crate::console::fields;
use crate::console::filters::without_nul;
use crate::console::frame::{Confirmation, Done, EndField, Fact, WhyFields, trouble};
use crate::http::error::ApiError;
use crate::licensing::amend_error::AmendError;
use crate::licensing::current::current;
use crate::licensing::day_words::last_day;
use crate::licensing::end_words::end_words;
use crate::licensing::look_up::look_up;
use crate::licensing::renew::{self, RenewError, RenewRequest};
use crate::licensing::{seats as freeing, status};
use crate::store::licenses::{License, Status};
use crate::store::seats;

/// The actions on a license.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::console) enum What {
    Renew,
    Suspend,
    Reinstate,
    Revoke,
    Free,
    Release,
}

/// The fields of the form.
#[derive(Default, Deserialize)]
pub(in crate::console) struct ActionForm {
    #[serde(default)]
    message: String,
    /// `never`, or `day` for the day below.
    #[serde(default)]
    end: String,
    #[serde(default)]
    day: String,
    /// The number of the newest amendment, as the confirmation page was made.
    #[serde(default)]
    after: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    order: String,
    #[serde(default)]
    machine: String,
    /// Until when the machine may run, as shown on the confirmation page.
    #[serde(default)]
    may_run_until: String,
}

impl ActionForm {
    fn renewal(&self) -> Result<RenewRequest, ApiError> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let after = some(&self.after).map(|text| {
            let label = "number of the newest amendment";
            fields::number(label, &text)
        });
        Ok(RenewRequest {
            expires_at: fields::never_or_day(&self.end, &self.day)?,
            after: after.transpose()?,
            reason: some(&self.reason),
            order: some(&self.order),
        })
    }
}

/// The machine, if the action concerns one.
#[derive(Default, Deserialize)]
pub(in crate::console) struct About {
    #[serde(default)]
    machine: String,
}

pub(in crate::console) async fn ask(
    State(app): State<Arc<App>>,
    Path((license, what)): Path<(String, What)>,
    about: Result<Query<About>, QueryRejection>,
) -> Response {
    let machine = about.map(|Query(about)| about.machine).unwrap_or_default();
    if let Err(error) = without_nul("machine", &machine) {
        return trouble("licenses", error);
    }
    match found(&app, &license).await {
        Ok(license) => {
            let end = license.end();
            let day = end.at().map(|end| end.format("%Y-%m-%d"));
            let seat = seats::find(app.store.reader(), &license.id, &machine).await;
            let until = match seat {
                Ok(seat) => seat.and_then(|seat| seat.signed_until),
                Err(error) => return trouble("licenses", error),
            };
            let end = match end {
                LicenseEnd::At(Some(_)) => "day",
                LicenseEnd::At(None) => "never",
                // Any end replaces the one that the first activation would set.
                LicenseEnd::AfterActivation(_) => "",
            };
            let given = ActionForm {
                may_run_until: until.map(freeing::in_seconds).unwrap_or_default(),
                end: end.to_owned(),
                day: day.map(|day| day.to_string()).unwrap_or_default(),
                after: license.amendment.to_string(),
                machine,
                ..ActionForm::default()
            };
            question(&license, what, &given).ask("licenses")
        }
        Err(error) => trouble("licenses", error),
    }
}

pub(in crate::console) async fn change(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path((license, what)): Path<(String, What)>,
    Form(mut given): Form<ActionForm>,
) -> Response {
    let license = match found(&app, &license).await {
        Ok(license) => license,
        Err(error) => return trouble("licenses", error),
    };
    match carry_out(&app, actor, &license, what, &given).await {
        Ok(done) => done.redirect(&address(&license)),
        Err(Refused::Amended { newest, changes }) => {
            given.after = newest.to_string();
            let license = match found(&app, &license.id).await {
                Ok(license) => license,
                Err(error) => return trouble("licenses", error),
            };
            let error = ApiError::Conflict(format!(
                "others have amended the license in the meantime: {changes}. Your entries have \
                 been kept. Review them, and confirm again."
            ));
            question(&license, what, &given).ask_again("licenses", &error)
        }
        Err(Refused::Error(error)) => {
            question(&license, what, &given).ask_again("licenses", &error)
        }
    }
}

/// Why nothing is changed.
enum Refused {
    /// Others have amended the license: what they have changed, and the newest amendment.
    Amended { newest: u32, changes: String },
    /// Anything else.
    Error(ApiError),
}

impl<E: Into<ApiError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// The license, as it is now.
async fn found(app: &App, license: &str) -> Result<License, ApiError> {
    let license = look_up(&app.store, license).await?;
    Ok(current(app.store.reader(), license, app.clock.now()).await?)
}

async fn carry_out(
    app: &App,
    actor: Actor,
    license: &License,
    what: What,
    given: &ActionForm,
) -> Result<Done, Refused> {
    let (store, change) = (&app.store, app.change(actor));
    let words = Some(given.message.trim()).filter(|words| !words.is_empty());
    let set = |status, words| status::set_status(store, &license.id, status, words, &change);
    match what {
        What::Renew => {
            let change = app.permitted_change(change.by.clone())?;
            let request = given.renewal()?;
            match renew::renew(store, &license.id, &request, &change).await {
                Ok(_) => Ok(Done::Renewed),
                Err(RenewError::Amend(AmendError::Amended {
                    newest, changes, ..
                })) => Err(Refused::Amended { newest, changes }),
                Err(error) => Err(error.into()),
            }
        }
        What::Suspend => {
            set(Status::Suspended, words).await?;
            Ok(Done::Suspended)
        }
        What::Reinstate => {
            set(Status::Active, None).await?;
            Ok(Done::Reinstated)
        }
        What::Revoke => {
            set(Status::Revoked, words).await?;
            Ok(Done::Revoked)
        }
        What::Free => {
            let machine = without_nul("machine", &given.machine)?;
            freeing::free(store, &license.id, machine, &change).await?;
            Ok(Done::SeatFreed)
        }
        What::Release => {
            let machine = without_nul("machine", &given.machine)?;
            let until = given.may_run_until.parse().ok();
            freeing::release(store, &license.id, machine, until, &change).await?;
            Ok(Done::SeatReleased)
        }
    }
}

fn question(license: &License, what: What, given: &ActionForm) -> Confirmation {
    let word = match what {
        What::Renew => "renew",
        What::Suspend => "suspend",
        What::Reinstate => "reinstate",
        What::Revoke => "revoke",
        What::Free => "free",
        What::Release => "release",
    };
    let mut facts = vec![
        Fact::new("customer", &license.customer),
        Fact::new("key", &license.license_key),
        Fact::new("tier", &license.tier),
    ];
    if what == What::Renew {
        facts.push(Fact::new("end", end_words(license.end(), last_day)));
    }
    let mut hidden = Vec::new();
    if what == What::Renew {
        hidden.push(("after", given.after.clone()));
    }
    if matches!(what, What::Free | What::Release) {
        facts.push(Fact::new("machine", &given.machine));
        facts.push(Fact::new("may-run-until", &given.may_run_until));
        hidden.push(("machine", given.machine.clone()));
        hidden.push(("may_run_until", given.may_run_until.clone()));
    }
    Confirmation {
        what: word,
        action: format!("{}/{word}", address(license)),
        back: address(license),
        edit: None,
        facts,
        hidden,
        message: matches!(what, What::Suspend | What::Revoke).then(|| given.message.clone()),
        end: (what == What::Renew).then(|| EndField {
            choice: given.end.clone(),
            day: given.day.clone(),
        }),
        why: (what == What::Renew).then(|| WhyFields {
            order: given.order.clone(),
            reason: given.reason.clone(),
        }),
        days: None,
        is_destructive: matches!(
            what,
            What::Suspend | What::Revoke | What::Free | What::Release
        ),
    }
}
