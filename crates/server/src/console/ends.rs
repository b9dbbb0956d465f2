//! The end of a license on pages.

use license_console::moment::Moment;
use license_core::plan::LicenseEnd;

use crate::licensing::end_words::end_words;
use crate::store::licenses::License;

/// The end of a license, which `ends.html` shows.
pub(super) struct ShownEnd {
    /// The instant, if there is one.
    pub(super) at: Option<Moment>,
    /// The end in words.
    pub(super) text: String,
    /// Whether there is no end, and none to come.
    pub(super) is_never: bool,
}

impl ShownEnd {
    pub(super) fn of(license: &License) -> Self {
        let end = license.end();
        Self {
            at: end.at().map(Moment::of),
            is_never: end == LicenseEnd::default(),
            text: end_words(end, |at| Moment::of(at).text),
        }
    }
}
