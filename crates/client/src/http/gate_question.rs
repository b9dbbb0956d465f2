//! A gateway's question, over HTTP or gRPC, and the response.

use std::borrow::Cow;

use axum::http::HeaderValue;
use license_core::feature::FeatureKey;
use license_core::license::License;
use license_core::reason_words::for_refused_user;
use license_core::route::{Effort, Need};
use serde_json::json;

use crate::app::App;
use crate::licensing::decide;

/// Maximum length of a feature key that is looked up, in bytes.
const MAX_FEATURE_BYTES: usize = 4 * FeatureKey::MAX_CHARS;
/// Maximum length of a method that is looked up, in bytes; no registered method is that long.
const MAX_METHOD_BYTES: usize = 32;

/// The data that a gateway sends about a request. All of it must allow the request, so anything
/// that a visitor adds can only close the gate.
pub(super) struct Question<'a> {
    /// The features that the request needs; `None` if they cannot be read.
    pub(super) features: Option<Vec<Cow<'a, str>>>,
    /// The paths of the request; `None` if they cannot be read.
    pub(super) paths: Option<Vec<AskedPath<'a>>>,
    /// The features may all come from the visitor: without a table they do not
    /// open the gate.
    pub(super) features_may_be_the_visitors: bool,
}

/// A path that the gateway asks about.
#[derive(PartialEq, Eq)]
pub(super) struct AskedPath<'a> {
    /// `None` if the method is not known, and may be any.
    pub(super) method: Option<&'a str>,
    /// Includes the query.
    pub(super) path: Cow<'a, [u8]>,
}

/// Whether a request may pass, and why.
pub(super) struct Verdict<'a> {
    pub(super) allowed: bool,
    reason: Why,
    pub(super) feature: Option<Cow<'a, str>>,
}

/// Why a request may or may not pass.
enum Why {
    /// The code of the decision about a feature.
    Decided(String),
    /// No license decides about the request.
    Undecided(RequestReason),
}

/// Why a request may pass or not where no license decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestReason {
    /// The routes list the path, which needs no feature.
    NoFeatureNeeded,
    /// The gateway named neither a feature nor a path.
    NoFeature,
    /// The gateway named a path, and there are no routes.
    NoTable,
    /// The routes do not list the path.
    NotListed,
    /// The path cannot be read, or may be read in different ways.
    BadPath,
    /// The feature cannot be read.
    BadFeature,
}

impl RequestReason {
    /// A code for programs.
    fn code(self) -> &'static str {
        match self {
            Self::NoFeatureNeeded => "no_feature_needed",
            Self::NoFeature => "no_feature",
            Self::NoTable => "no_table",
            Self::NotListed => "not_listed",
            Self::BadPath => "bad_path",
            Self::BadFeature => "bad_feature",
        }
    }
}

impl Verdict<'_> {
    fn refused(reason: RequestReason) -> Self {
        Self {
            allowed: false,
            reason: Why::Undecided(reason),
            feature: None,
        }
    }

    /// The code of the reason.
    pub(super) fn reason(&self) -> &str {
        match &self.reason {
            Why::Decided(code) => code,
            Why::Undecided(reason) => reason.code(),
        }
    }

    /// The question cannot be read, so no license would allow the request.
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(
            self.reason,
            Why::Undecided(RequestReason::BadPath | RequestReason::BadFeature)
        )
    }

    /// The body of a refusal: JSON that a user may be shown.
    pub(super) fn body(&self) -> String {
        let feature = self.feature.as_deref().unwrap_or_default();
        let detail = for_refused_user(self.reason(), feature);
        json!({"detail": detail, "reason": self.reason(), "feature": self.feature}).to_string()
    }

    /// The headers of every response; `None` for a header without a value. A tier that a header
    /// cannot contain is omitted.
    pub(super) fn headers(&self, app: &App) -> [(&'static str, Option<HeaderValue>); 2] {
        let snapshot = app.snapshot();
        let tier = snapshot.license().and_then(License::tier);
        [
            ("x-license-reason", Some(self.reason())),
            ("x-license-tier", tier),
        ]
        .map(|(name, text)| {
            let value = text.and_then(|text| HeaderValue::from_str(text).ok());
            (name, value.filter(|value| !value.is_empty()))
        })
    }
}

/// Whether the request may pass: an allowance, or the first refusal.
pub(super) fn judge<'a>(app: &'a App, question: &'a Question<'_>) -> Verdict<'a> {
    let (Ok(verdict) | Err(verdict)) = judge_each(app, question);
    verdict
}

/// An allowance, or the first refusal as the error.
fn judge_each<'a>(app: &'a App, question: &'a Question<'_>) -> Result<Verdict<'a>, Verdict<'a>> {
    let unreadable = || Verdict::refused(RequestReason::BadFeature);
    let mut allowed = None;
    for feature in question.features.as_ref().ok_or_else(unreadable)? {
        allowed = Some(decide(app, Cow::Borrowed(&**feature))?);
    }
    let unreadable = || Verdict::refused(RequestReason::BadPath);
    let paths = question.paths.as_ref().ok_or_else(unreadable)?;
    let Some(table) = app.gate_routes.table() else {
        if question.features_may_be_the_visitors {
            return Err(Verdict::refused(RequestReason::NoTable));
        }
        let nothing = if paths.is_empty() {
            RequestReason::NoFeature
        } else {
            RequestReason::NoTable
        };
        return allowed.ok_or_else(|| Verdict::refused(nothing));
    };
    let mut effort = Effort::default();
    for (number, asked) in paths.iter().enumerate() {
        if paths[..number].contains(asked) {
            continue;
        }
        let needs = match asked.method {
            Some(method) => vec![table.need_within(&mut effort, method, &asked.path)],
            None => table.needs_of_any_method(&mut effort, &asked.path),
        };
        for need in needs {
            allowed = Some(by_path(app, need)?);
        }
    }
    allowed.ok_or_else(|| Verdict::refused(RequestReason::NoFeature))
}

fn by_path(app: &App, need: Need<'_>) -> Result<Verdict<'static>, Verdict<'static>> {
    match need {
        Need::Feature(key) => decide(app, key.as_str().to_owned().into()),
        Need::Nothing => Ok(Verdict {
            allowed: true,
            reason: Why::Undecided(RequestReason::NoFeatureNeeded),
            feature: None,
        }),
        Need::Unlisted => Err(Verdict::refused(RequestReason::NotListed)),
        Need::BadPath(_) => Err(Verdict::refused(RequestReason::BadPath)),
    }
}

fn decide<'a>(app: &App, key: Cow<'a, str>) -> Result<Verdict<'a>, Verdict<'a>> {
    if key.len() > MAX_FEATURE_BYTES {
        return Err(Verdict::refused(RequestReason::BadFeature));
    }
    let (allowed, code) = decide::decide(app, &key, app.plausible_time(), |decision| {
        (decision.available, decision.reason.code().to_owned())
    });
    let verdict = Verdict {
        allowed,
        reason: Why::Decided(code),
        feature: Some(key),
    };
    match allowed {
        true => Ok(verdict),
        false => Err(verdict),
    }
}

/// The method in a text, if it is one (RFC 9110, section 9.1).
pub(super) fn method_of(text: &str) -> Option<&str> {
    let is_method = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let fits = (1..=MAX_METHOD_BYTES).contains(&text.len());
    Some(text).filter(|text| fits && text.bytes().all(is_method))
}
