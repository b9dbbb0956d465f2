//! What a response says that a license key grants, before it is activated.

use serde_json::Value;

use super::well_formed::{inner, read, refusal};
use super::{NoContact, Refusal, Reply};
use crate::license::License;

/// Why it is not known what a license key grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpreviewed {
    /// The License Server refuses the key.
    Refused(Refusal),
    /// There is no answer, or the License Server does not know the question.
    NoContact(NoContact),
}

/// Reads the response to the question what `license_key` grants. It is not signed, and is only
/// shown: nothing is granted or denied because of it.
///
/// # Errors
/// [`Unpreviewed`].
pub fn previewed(reply: &Reply, license_key: &str) -> Result<License, Unpreviewed> {
    let (status, answer) = read(reply).map_err(Unpreviewed::NoContact)?;
    if let Some(refusal) = refusal(&answer, license_key) {
        return Err(Unpreviewed::Refused(refusal));
    }
    let license = inner(&answer).and_then(|data| data.get("license"));
    match license.and_then(Value::as_object) {
        Some(license) if (200..300).contains(&status) => Ok(License::new(license.clone())),
        _ => Err(Unpreviewed::NoContact(NoContact::Unexpected {
            status,
            what: "no license",
        })),
    }
}
