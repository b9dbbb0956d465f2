//! Which feature a path needs.

use license_core::feature::FeatureKey as StoredKey;
use license_core::route::{Need, Otherwise, Pattern, Route, RouteTable};

use crate::feature_key::FeatureKey;

/// Which features the paths of a gateway need: for [`Gate::layer_by_path`]. What is not
/// listed is refused, unless [`allow_unlisted`](Self::allow_unlisted) says otherwise.
///
/// ```
/// # fn main() -> Result<(), license_gate::RouteError> {
/// use license_gate::Routes;
///
/// let routes = Routes::new()
///     .open_for(["GET"], "/api/alarms/**")?
///     .feature("/api/alarms/**", "module.alarm_advanced")?
///     .feature("/cameras/*/map", "module.map_view")?
///     .open("/health")?;
/// # Ok(())
/// # }
/// ```
///
/// The first route that matches counts. `*` stands for one segment, `**` at the end for
/// any rest.
///
/// [`Gate::layer_by_path`]: crate::Gate::layer_by_path
#[derive(Clone, Debug, Default)]
#[must_use = "routes are for Gate::layer_by_path"]
pub struct Routes {
    routes: Vec<Route>,
    allows_unlisted: bool,
    ignores_case: bool,
}

/// Why a route cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the route '{route}' cannot be used: {why}")]
#[non_exhaustive]
pub struct RouteError {
    /// The route's paths.
    pub route: String,
    /// What is wrong with it.
    pub why: String,
}

impl Routes {
    /// No route: everything is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests to these paths need a feature.
    ///
    /// # Errors
    /// [`RouteError`] if the paths or the feature's key cannot be read.
    pub fn feature(self, paths: &str, feature: impl Into<FeatureKey>) -> Result<Self, RouteError> {
        self.feature_for([], paths, feature)
    }

    /// Requests to these paths with one of these methods need a feature.
    ///
    /// # Errors
    /// As [`Routes::feature`].
    pub fn feature_for<'a>(
        self,
        methods: impl IntoIterator<Item = &'a str>,
        paths: &str,
        feature: impl Into<FeatureKey>,
    ) -> Result<Self, RouteError> {
        let feature = StoredKey::parse(feature.into().as_str());
        let feature = feature.map_err(|why| RouteError {
            route: paths.to_owned(),
            why: why.to_string(),
        })?;
        self.add(methods, paths, Some(feature))
    }

    /// Requests to these paths need no feature.
    ///
    /// # Errors
    /// [`RouteError`] if the paths cannot be read.
    pub fn open(self, paths: &str) -> Result<Self, RouteError> {
        self.open_for([], paths)
    }

    /// Requests to these paths with one of these methods need no feature.
    ///
    /// # Errors
    /// [`RouteError`] if the paths cannot be read.
    pub fn open_for<'a>(
        self,
        methods: impl IntoIterator<Item = &'a str>,
        paths: &str,
    ) -> Result<Self, RouteError> {
        self.add(methods, paths, None)
    }

    /// Lets requests pass that no route is for.
    pub fn allow_unlisted(mut self) -> Self {
        self.allows_unlisted = true;
        self
    }

    /// Compares paths without regard to case, for gateways before services that do the
    /// same.
    pub fn ignore_case(mut self) -> Self {
        self.ignores_case = true;
        self
    }

    fn add<'a>(
        mut self,
        methods: impl IntoIterator<Item = &'a str>,
        paths: &str,
        feature: Option<StoredKey>,
    ) -> Result<Self, RouteError> {
        let pattern = Pattern::parse(paths).map_err(|why| RouteError {
            route: paths.to_owned(),
            why: why.to_string(),
        })?;
        self.routes.push(Route {
            methods: methods.into_iter().map(str::to_owned).collect(),
            pattern,
            feature,
        });
        Ok(self)
    }

    /// The features that routes name.
    pub(crate) fn features(&self) -> impl Iterator<Item = FeatureKey> {
        let features = self
            .routes
            .iter()
            .filter_map(|route| route.feature.as_ref());
        features.map(|key| FeatureKey::from(key.as_str()))
    }

    pub(crate) fn finish(self) -> FinishedRoutes {
        let otherwise = match self.allows_unlisted {
            true => Otherwise::Allow,
            false => Otherwise::Deny,
        };
        FinishedRoutes(RouteTable::new(self.routes, otherwise, self.ignores_case))
    }
}

/// The same, in the form that requests are looked up in.
#[derive(Debug)]
pub(crate) struct FinishedRoutes(RouteTable);

impl FinishedRoutes {
    pub(crate) fn need(&self, method: &str, path: &str) -> Need<'_> {
        self.0.need(method, path)
    }
}
