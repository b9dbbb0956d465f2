//! Which feature a path requires.

use license_core::feature::FeatureKey as StoredKey;
use license_core::route::{Need, Otherwise, Pattern, Route, RouteTable};

use crate::feature_key::FeatureKey;

/// The features that the paths of a gateway require, for [`Gate::layer_by_path`]. Paths
/// that are not listed are refused, unless [`allow_unlisted`](Self::allow_unlisted) is set.
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
/// The first matching route applies. `*` matches one segment, `**` at the end any
/// remainder.
///
/// [`Gate::layer_by_path`]: crate::Gate::layer_by_path
#[derive(Clone, Debug, Default)]
#[must_use = "routes do nothing until they are passed to Gate::layer_by_path"]
pub struct Routes {
    routes: Vec<Route>,
    allows_unlisted: bool,
    ignores_case: bool,
}

/// Why a route is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid route '{route}': {why}")]
#[non_exhaustive]
pub struct RouteError {
    /// The paths of the route.
    pub route: String,
    /// What is wrong with the route.
    pub why: String,
}

impl Routes {
    /// No routes: everything is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests to these paths require a feature.
    ///
    /// # Errors
    /// [`RouteError`] if the paths or the feature's key are invalid.
    pub fn feature(self, paths: &str, feature: impl Into<FeatureKey>) -> Result<Self, RouteError> {
        self.feature_for([], paths, feature)
    }

    /// Requests to these paths with one of these methods require a feature.
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

    /// Requests to these paths require no feature.
    ///
    /// # Errors
    /// [`RouteError`] if the paths are invalid.
    pub fn open(self, paths: &str) -> Result<Self, RouteError> {
        self.open_for([], paths)
    }

    /// Requests to these paths with one of these methods require no feature.
    ///
    /// # Errors
    /// [`RouteError`] if the paths are invalid.
    pub fn open_for<'a>(
        self,
        methods: impl IntoIterator<Item = &'a str>,
        paths: &str,
    ) -> Result<Self, RouteError> {
        self.add(methods, paths, None)
    }

    /// Allows requests that match no route.
    pub fn allow_unlisted(mut self) -> Self {
        self.allows_unlisted = true;
        self
    }

    /// Ignores the case of paths, for gateways in front of services that do the same.
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

    /// The features that the routes require.
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

/// The routes in the form used for lookups.
#[derive(Debug)]
pub(crate) struct FinishedRoutes(RouteTable);

impl FinishedRoutes {
    pub(crate) fn need(&self, method: &str, path: &str) -> Need<'_> {
        self.0.need(method, path)
    }
}
