//! The actions that the audit log records.

/// The action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sea_orm::EnumIter)]
pub enum Action {
    /// A license was issued.
    Issued,
    /// The end of the license was set.
    Renewed,
    /// The license was amended.
    Amended,
    /// The license was suspended.
    Suspended,
    /// The license was reinstated.
    Reinstated,
    /// The license was revoked permanently.
    Revoked,
    /// A machine has taken a seat.
    SeatTaken,
    /// A machine has freed its seat.
    SeatGivenBack,
    /// Another installation has called from a machine that holds a seat.
    InstallationChanged,
    /// The vendor has freed a machine's seat.
    SeatFreed,
    /// A machine has taken the place of another one whose lease is still valid.
    SeatMoved,
    /// An activation that did not prove the installation key of the machine's seat has removed it.
    KeyUnbound,
    /// Staff have decided whether calls about the license must prove an installation key.
    ProofRuleChanged,
    /// The vendor has released a freed seat while the machine's lease is still valid.
    SeatReleased,
    /// Further entries of the license's sites on this day are only counted.
    SiteEntriesLimited,
    /// The number of entries of the license's sites on a day that were only counted.
    SiteEntriesCounted,
    /// A request file was answered.
    OfflineSigned,
    /// A signing key was created.
    KeyMade,
    /// A signing key was revoked.
    KeyRevoked,
    /// The key change in the previous entry did not happen.
    KeysUnchanged,
    /// The vendor accepted a key directory.
    KeysAccepted,
    /// The document of a release was signed.
    ReleaseSigned,
    /// The vendor has confirmed that the server's clock is correct.
    ClockAccepted,
    /// A version of a plan was published.
    PlanPublished,
    /// An entry of the catalogue was added or described again.
    CatalogueChanged,
    /// A site was not denied because it knows more than the database.
    AnswerWithheld,
    /// A token for administration was created.
    TokenAdded,
    /// A token for administration was revoked.
    TokenRevoked,
    /// An add-on key was issued.
    AddOnIssued,
    /// An add-on key was redeemed, which amended a license.
    AddOnRedeemed,
    /// An add-on key was refunded; if it was redeemed, its amendment was undone.
    AddOnRefunded,
    /// A trial code was created.
    TrialCodeAdded,
    /// A trial code was withdrawn.
    TrialCodeWithdrawn,
    /// The record that an installation has started a trial was removed.
    TrialForgotten,
    /// A customer was added.
    CustomerAdded,
    /// A customer was changed.
    CustomerChanged,
    /// A customer was merged into another one.
    CustomerMerged,
}

impl Action {
    /// The value in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Renewed => "renewed",
            Self::Amended => "amended",
            Self::Suspended => "suspended",
            Self::Reinstated => "reinstated",
            Self::Revoked => "revoked",
            Self::SeatTaken => "seat_taken",
            Self::SeatGivenBack => "seat_given_back",
            Self::InstallationChanged => "installation_changed",
            Self::SeatFreed => "seat_freed",
            Self::SeatMoved => "seat_moved",
            Self::KeyUnbound => "installation_key_unbound",
            Self::ProofRuleChanged => "proof_rule_changed",
            Self::SeatReleased => "seat_released",
            Self::SiteEntriesLimited => "site_entries_limited",
            Self::SiteEntriesCounted => "site_entries_counted",
            Self::OfflineSigned => "offline_signed",
            Self::KeyMade => "key_made",
            Self::KeyRevoked => "key_revoked",
            Self::KeysUnchanged => "keys_unchanged",
            Self::KeysAccepted => "keys_accepted",
            Self::ReleaseSigned => "release_signed",
            Self::ClockAccepted => "clock_accepted",
            Self::PlanPublished => "plan_published",
            Self::CatalogueChanged => "catalogue_changed",
            Self::AnswerWithheld => "answer_withheld",
            Self::TokenAdded => "token_added",
            Self::TokenRevoked => "token_revoked",
            Self::AddOnIssued => "add_on_issued",
            Self::AddOnRedeemed => "add_on_redeemed",
            Self::AddOnRefunded => "add_on_refunded",
            Self::TrialCodeAdded => "trial_code_added",
            Self::TrialCodeWithdrawn => "trial_code_withdrawn",
            Self::TrialForgotten => "trial_forgotten",
            Self::CustomerAdded => "customer_added",
            Self::CustomerChanged => "customer_changed",
            Self::CustomerMerged => "customer_merged",
        }
    }

    /// Whether sites can cause it any number of times.
    pub(super) fn is_unbounded(self) -> bool {
        matches!(
            self,
            Self::SeatTaken
                | Self::SeatGivenBack
                | Self::InstallationChanged
                | Self::OfflineSigned
                | Self::KeyUnbound
        )
    }
}
