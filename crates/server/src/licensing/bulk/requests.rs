//! Lines as requests.

use license_core::amendment::{TermChanges, UpdateRule};
use license_core::plan::PlanChoice;

use super::cells::Cells;
use super::file::Line;
use crate::licensing::amend::{Addition, AmendRequest};
use crate::licensing::issue::IssueRequest;
use crate::licensing::renew::RenewRequest;

impl Line {
    fn cells(&self) -> Result<Cells<'_>, String> {
        match &self.cells {
            Ok(cells) => Ok(Cells(cells)),
            Err(why) => Err(why.clone()),
        }
    }

    /// The license to issue.
    pub(super) fn issue_request(&self) -> Result<IssueRequest, String> {
        let cells = self.cells()?;
        let plan = cells.required("plan")?;
        let plan: PlanChoice = plan.parse().map_err(|error| format!("plan: {error}"))?;
        Ok(IssueRequest {
            customer: cells.text("customer").unwrap_or_default(),
            terms: cells.terms()?,
            max_cameras: cells.limit("maxCameras")?,
            max_users: cells.limit("maxUsers")?,
            max_storage_gb: cells.limit("maxStorageGb")?,
            with: cells.values("with")?,
            without: cells.values("without")?,
            starts_at: cells.start("startsAt")?,
            expires_at: cells.end("expiresAt")?,
            key: cells.text("licenseKey"),
            ..IssueRequest::of(plan)
        })
    }

    /// The key of the license to renew, and its new end.
    pub(super) fn renew_request(&self) -> Result<(String, RenewRequest), String> {
        let cells = self.cells()?;
        let expires_at = cells.end_or("expiresAt", "never")?;
        let request = RenewRequest {
            expires_at: expires_at.ok_or("expiresAt is missing; expected a date, or 'never'")?,
            after: cells.value("after")?,
            reason: cells.text("reason"),
            order: cells.text("order"),
        };
        Ok((cells.required("licenseKey")?, request))
    }

    /// The key of the license to amend, and the amendment.
    pub(super) fn amend_request(&self) -> Result<(String, AmendRequest), String> {
        let cells = self.cells()?;
        let request = AmendRequest {
            after: cells.value("after")?,
            reason: cells.text("reason"),
            order: cells.text("order"),
            effective_at: cells.start("effectiveAt")?,
            undoes: cells.value("undoes")?,
            plan: cells.value("plan")?,
            end: cells.values("end")?,
            add: cells.additions()?,
            starts_at: cells.start_or("startsAt", "none")?,
            expires_at: cells.end_or("expiresAt", "never")?,
            customer: cells.text("customer"),
            terms: cells.terms()?,
        };
        Ok((cells.required("licenseKey")?, request))
    }
}

impl Cells<'_> {
    /// What is added, for the period in the line.
    fn additions(&self) -> Result<Vec<Addition>, String> {
        let mut additions: Vec<Addition> = self.values("add")?;
        let (from, until) = (self.start("from")?, self.end("until")?);
        if additions.is_empty() && (from.is_some() || until.is_some()) {
            return Err("from and until apply to add, which is missing".to_owned());
        }
        for addition in &mut additions {
            addition.period.from = from;
            addition.period.until = until;
        }
        Ok(additions)
    }

    fn terms(&self) -> Result<TermChanges, String> {
        let updates = self.text("updates").map(|rule| {
            let found = UpdateRule::of(&rule);
            found.ok_or_else(|| format!("invalid updates '{rule}': expected warn or enforce"))
        });
        Ok(TermChanges {
            seats: self.value("seats")?,
            moves: self.value("moves")?,
            moves_period_days: self.value("movesPeriodDays")?,
            lease_hours: self.number_or_default("leaseHours")?,
            grace_hours: self.number_or_default("graceHours")?,
            offline_days: self.number_or_default("offlineDays")?,
            updates_until: self.end_or("updatesUntil", "unlimited")?,
            updates: updates.transpose()?,
        })
    }
}
