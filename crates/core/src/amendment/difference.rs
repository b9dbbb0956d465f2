//! How a license differs from what it was, apart from what it grants.

use super::{Change, Contents, TermChanges};
use crate::plan::LicenseEnd;

impl Contents {
    /// The changes that make this of `before`, apart from what is granted: the plan, the customer,
    /// the start, the end and the terms.
    #[must_use]
    pub fn differences(&self, before: &Self) -> Vec<Change> {
        let mut differences = Vec::new();
        let plan = self.plan.clone().filter(|_| self.plan != before.plan);
        differences.extend(plan.map(Change::Plan));
        if self.customer != before.customer {
            differences.push(Change::Customer(self.customer.clone()));
        }
        if self.starts_at != before.starts_at {
            differences.push(Change::Start(self.starts_at));
        }
        let end = LicenseEnd::of(self);
        if end != LicenseEnd::of(before) {
            differences.push(end.change());
        }
        let terms = TermChanges::between(&before.terms, &self.terms);
        if !terms.is_empty() {
            differences.push(Change::TermChanges(terms));
        }
        differences
    }
}
