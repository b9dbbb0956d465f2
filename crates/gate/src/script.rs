//! Gates for tests, without a License Client.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use license_core::feature::CORE_FEATURES;

use crate::announced::{Announced, Limit, Limits};
use crate::builder::GateBuilder;
use crate::clock::{self, Ticks};
use crate::decision::{Decision, Reason};
use crate::feature_key::FeatureKey;
use crate::gate::Gate;
use crate::shared::{Options, Shared};
use crate::table::{Contact, Step, Table};
use crate::without_contact::WithoutContact;

/// Controls what a gate of [`Gate::scripted`] decides. Dropping it changes nothing.
pub struct GateScript {
    shared: Arc<Shared>,
    scene: Mutex<Scene>,
}

/// The decisions of a scripted gate.
#[derive(Clone)]
struct Scene {
    features: BTreeMap<FeatureKey, Decision>,
    tier: Option<Arc<str>>,
    limits: Arc<Limits>,
    is_in_contact: bool,
}

impl Gate {
    /// A gate for tests, without a License Client: only core features and `features` are
    /// available.
    ///
    /// ```
    /// use license_gate::Gate;
    ///
    /// let gate = Gate::fixed(["module.map_view"]);
    /// assert!(gate.is_available("module.map_view"));
    /// assert!(gate.is_available("module.live_view"));
    /// assert!(!gate.is_available("module.alarm_advanced"));
    /// ```
    #[must_use]
    pub fn fixed<K: Into<FeatureKey>>(features: impl IntoIterator<Item = K>) -> Self {
        scripted(features, Options::default()).0
    }

    /// A gate for tests, and the script that controls it. It starts in contact, with only
    /// core features available.
    ///
    /// ```
    /// use license_gate::{Gate, Reason};
    ///
    /// let (gate, script) = Gate::scripted();
    /// script.license("module.map_view");
    /// assert!(gate.is_available("module.map_view"));
    /// script.refuse("module.map_view", Reason::Revoked);
    /// assert_eq!(gate.check("module.map_view").reason, Reason::Revoked);
    /// ```
    #[must_use]
    pub fn scripted() -> (Self, GateScript) {
        scripted::<FeatureKey>([], Options::default())
    }
}

impl GateBuilder {
    /// [`Gate::fixed`] with the hooks and refusal responses of this builder. The gate
    /// follows no License Client.
    #[must_use]
    pub fn fixed<K: Into<FeatureKey>>(self, features: impl IntoIterator<Item = K>) -> Gate {
        scripted(features, self.into_options()).0
    }

    /// [`Gate::scripted`] with the hooks and refusal responses of this builder. The gate
    /// follows no License Client.
    #[must_use]
    pub fn scripted(self) -> (Gate, GateScript) {
        scripted::<FeatureKey>([], self.into_options())
    }
}

fn scripted<K: Into<FeatureKey>>(
    features: impl IntoIterator<Item = K>,
    options: Options,
) -> (Gate, GateScript) {
    let core = CORE_FEATURES.map(|key| (FeatureKey::from(key), Decision::yes(Reason::Core)));
    let mut scene = Scene {
        features: BTreeMap::new(),
        tier: None,
        limits: Arc::default(),
        is_in_contact: true,
    };
    for feature in features {
        let licensed = Decision::yes(Reason::Licensed);
        scene.features.insert(feature.into(), licensed);
    }
    // Core features do not change.
    scene.features.extend(core);
    let shared = Arc::new(Shared::new(scene.table(), options, None));
    let gate = Gate::of(shared.clone());
    let scene = Mutex::new(scene);
    (gate, GateScript { shared, scene })
}

impl Scene {
    fn table(&self) -> Table {
        let features = self.features.iter();
        let features = features.map(|(key, decision)| (key.as_str().into(), *decision));
        let announced = Announced::fixed(features, Decision::no(Reason::NotInLicense));
        let steps = announced.states.into_iter().map(|state| Step {
            until: Ticks::MAX,
            decisions: state.decisions,
            limits: self.limits.clone(),
        });
        let now = clock::ticks();
        let contact = Contact {
            is_known: true,
            lost_at: (!self.is_in_contact).then_some(now),
            policy: WithoutContact::KeepUntilEnd,
            timeout: Ticks::MAX,
        };
        let tier = self.tier.clone();
        Table::new(announced.rows, steps.collect(), contact, tier, now)
    }
}

impl GateScript {
    /// The license lists the feature.
    pub fn license(&self, feature: impl Into<FeatureKey>) {
        self.decide(feature, Decision::yes(Reason::Licensed));
    }

    /// The feature is not available, for this reason.
    pub fn refuse(&self, feature: impl Into<FeatureKey>, reason: Reason) {
        self.decide(feature, Decision::no(reason));
    }

    /// Sets the decision about the feature.
    pub fn decide(&self, feature: impl Into<FeatureKey>, decision: Decision) {
        self.change(|scene| {
            scene.features.insert(feature.into(), decision);
        });
    }

    /// Sets the license's limit for a [`Resource`](crate::Resource) or anything else.
    pub fn limit(&self, resource: impl AsRef<str>, limit: Limit) {
        let key = resource.as_ref();
        self.change(|scene| Arc::make_mut(&mut scene.limits).set(key, limit));
    }

    /// Sets the license's tier.
    pub fn tier(&self, tier: &str) {
        self.change(|scene| scene.tier = Some(tier.into()));
    }

    /// Sets whether there is contact with the License Client. It changes no decision.
    pub fn contact(&self, is_in_contact: bool) {
        self.change(|scene| scene.is_in_contact = is_in_contact);
    }

    fn change(&self, change: impl FnOnce(&mut Scene)) {
        let mut scene = self.scene.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut scene);
        self.shared.publish(scene.table());
    }
}

impl fmt::Debug for GateScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateScript").finish_non_exhaustive()
    }
}
