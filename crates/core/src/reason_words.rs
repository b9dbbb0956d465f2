//! The messages for each reason code: for operators in the console, and for users whom a gate
//! refuses.
//!
//! Codes are of [`crate::gate::Reason`], of a gateway's question that no license decides, and of
//! later versions, which have no words here.

/// The reason, for an operator of the site. An unknown one is shown as its code.
#[must_use]
pub fn for_operator(code: &str) -> &str {
    match code {
        "core" => "Core feature, always available",
        "licensed" => "In the license",
        "grace_period" => "In the license, during the grace period",
        "no_license" => "No license is activated",
        "not_in_license" => "Not in the license",
        "starts_later" => "In the license, but not in force yet",
        "ended" => "No longer in the license",
        "switched_off" => "Switched off on this site",
        "update_not_covered" => "The license does not cover the installed release",
        "license_expired" | "expired" => "The license has expired",
        "grace_period_expired" => "The grace period has ended",
        "revoked" => "The vendor has revoked the license",
        "suspended" => "The vendor has suspended the license",
        "hardware_mismatch" => "This machine has no seat",
        "seat_limit" => "All seats are taken by other machines",
        "unknown_license" => "Unknown license key",
        "deactivated" => "The license was deactivated",
        "add_on_key" => "An add-on key needs a license",
        "trial_code" => "A trial code is not a license key",
        "unknown_add_on" => "Unknown add-on key",
        "add_on_elsewhere" => "The add-on key was redeemed for another license",
        "add_on_refunded" => "The add-on key was refunded",
        "add_on_not_possible" => "The license cannot include what the add-on key grants",
        "redeemed" => "The add-on key was redeemed",
        "unknown_trial_code" => "Unknown trial code",
        "trial_code_used_up" => "All trials of the trial code have been started",
        "trials_of_the_day" => "No more trials can be started today",
        "trial_elsewhere" => "The trial was started on another machine or by another site",
        "trial_converted" => "The trial was converted or given up",
        "unproven" => "The License Server did not accept the proof of the installation key",
        _ => code,
    }
}

/// The message for a user who is refused `feature` at a gate.
#[must_use]
pub fn for_refused_user(code: &str, feature: &str) -> String {
    match code {
        "no_license" => "No license is activated on this site".to_owned(),
        "not_in_license" => format!("The license does not include '{feature}'"),
        "starts_later" => format!("The license does not include '{feature}' yet"),
        "ended" => format!("The license no longer includes '{feature}'"),
        "switched_off" => format!("'{feature}' is switched off on this site"),
        "update_not_covered" => {
            format!("The license does not include '{feature}' in the installed release")
        }
        "license_expired" => "The license has expired".to_owned(),
        "grace_period_expired" => "The grace period has expired; contact the operator".to_owned(),
        "no_contact" => "The license cannot be checked right now".to_owned(),
        "no_feature" => "The gateway did not name a feature or a path".to_owned(),
        "no_table" => {
            "The gateway asks by path, but GATE_ROUTES of the License Client is not set".to_owned()
        }
        "not_listed" => "No route matches this path".to_owned(),
        "bad_path" | "bad_feature" => "The path or feature of the request is invalid".to_owned(),
        _ => "The license is not valid; contact the operator".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::document::DenialReason;
    use crate::gate::Reason;
    use crate::lapse::LapseReason;

    #[test]
    fn every_reason_has_words() {
        let denials = [
            DenialReason::Revoked,
            DenialReason::Suspended,
            DenialReason::Expired,
            DenialReason::HardwareMismatch,
            DenialReason::SeatLimit,
            DenialReason::UnknownLicense,
            DenialReason::Deactivated,
            DenialReason::AddOnKey,
            DenialReason::TrialCode,
            DenialReason::UnknownAddOn,
            DenialReason::AddOnElsewhere,
            DenialReason::AddOnRefunded,
            DenialReason::AddOnNotPossible,
            DenialReason::Redeemed,
            DenialReason::UnknownTrialCode,
            DenialReason::TrialCodeUsedUp,
            DenialReason::TrialsOfTheDay,
            DenialReason::TrialElsewhere,
            DenialReason::TrialConverted,
            DenialReason::Unproven,
        ];
        let mut lapses: Vec<LapseReason> = denials.map(LapseReason::Denied).into();
        lapses.extend([LapseReason::LicenseExpired, LapseReason::GracePeriodExpired]);
        let mut reasons: Vec<Reason<'_>> = lapses.iter().map(Reason::Lapsed).collect();
        reasons.extend([
            Reason::Core,
            Reason::Licensed,
            Reason::GracePeriod,
            Reason::NoLicense,
            Reason::NotInLicense,
            Reason::StartsLater(DateTime::UNIX_EPOCH),
            Reason::Ended(DateTime::UNIX_EPOCH),
            Reason::SwitchedOff,
            Reason::UpdateNotCovered,
        ]);
        for reason in reasons {
            assert_ne!(for_operator(reason.code()), reason.code());
        }
    }
}
