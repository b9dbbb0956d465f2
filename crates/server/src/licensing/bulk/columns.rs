//! The columns of the files of bulk commands.

/// The columns of a file of licenses to issue.
pub(super) const ISSUE_COLUMNS: [&str; 18] = [
    "plan",
    "customer",
    "licenseKey",
    "startsAt",
    "expiresAt",
    "maxCameras",
    "maxUsers",
    "maxStorageGb",
    "with",
    "without",
    "seats",
    "moves",
    "movesPeriodDays",
    "leaseHours",
    "graceHours",
    "offlineDays",
    "updatesUntil",
    "updates",
];

/// The columns of a file of licenses to renew.
pub(super) const RENEW_COLUMNS: [&str; 5] = ["licenseKey", "expiresAt", "after", "reason", "order"];

/// The columns of a file of amendments.
pub(super) const AMEND_COLUMNS: [&str; 22] = [
    "licenseKey",
    "add",
    "from",
    "until",
    "end",
    "plan",
    "startsAt",
    "expiresAt",
    "customer",
    "effectiveAt",
    "undoes",
    "after",
    "reason",
    "order",
    "seats",
    "moves",
    "movesPeriodDays",
    "leaseHours",
    "graceHours",
    "offlineDays",
    "updatesUntil",
    "updates",
];
