//! Whether a response is well-formed, before anything in it is trusted. One that is not, such as the
//! HTML page of a captive portal, is no contact.

use serde_json::{Map, Value};

use super::{NoContact, Refusal, Reply};
use crate::{foreign_text, text_encoding, unambiguous_json};

/// The response as a JSON object, unless its status code shows that the License Server did not
/// decide anything.
pub(super) fn read(reply: &Reply) -> Result<(u16, Map<String, Value>), NoContact> {
    let (status, body) = match reply {
        Reply::Answer { status, body } => (*status, body),
        Reply::Later {
            status,
            retry_after,
        } => {
            let (status, retry_after) = (*status, *retry_after);
            return Err(NoContact::Later {
                status,
                retry_after,
            });
        }
        Reply::Unproven => return Err(NoContact::Unproven),
        Reply::Failure(failure) => {
            // Without raw text from the other side, such as the names in its certificate.
            let shown = |detail: String| foreign_text::message(&detail);
            return Err(failure.clone().map_detail(shown).into());
        }
    };
    match status {
        300..=399 => return Err(NoContact::Redirected { status }),
        401 | 407 | 511 => return Err(NoContact::SignInDemanded { status }),
        408 | 409 | 425 | 429 => return Err(NoContact::Busy { status }),
        500.. => return Err(NoContact::ServerFault { status }),
        _ => {}
    }
    let unexpected = |what| Err(NoContact::Unexpected { status, what });
    let text = text_encoding::unicode(body).map_err(|_| NoContact::NotJson { status })?;
    match unambiguous_json::from_str(&text) {
        Ok(Value::Object(answer)) => Ok((status, answer)),
        Ok(_) => unexpected("not a JSON object"),
        Err(error) if unambiguous_json::is_duplicate(&error) => {
            unexpected("an object has a duplicate member")
        }
        Err(_) => Err(NoContact::NotJson { status }),
    }
}

/// `data` if the response is wrapped, the response itself otherwise.
pub(super) fn inner(answer: &Map<String, Value>) -> Option<&Map<String, Value>> {
    answer.get("data").map_or(Some(answer), Value::as_object)
}

/// The refusal in a response about `license_key`, if it is one.
pub(super) fn refusal(answer: &Map<String, Value>, license_key: &str) -> Option<Refusal> {
    let inner = inner(answer);
    let is_false =
        |object: &Map<String, Value>, field| object.get(field) == Some(&Value::Bool(false));
    let refused =
        is_false(answer, "success") || inner.is_some_and(|inner| is_false(inner, "isValid"));
    if !refused {
        return None;
    }
    let error = answer.get("error");
    // The texts are shown to many people, logged and stored.
    let text = |value: Option<&Value>, shown: fn(&str, &str) -> String| {
        let text = shown(value?.as_str()?, license_key);
        Some(text).filter(|text| !text.is_empty())
    };
    let id = |value| text(value, foreign_text::identifier_about);
    let message = |value| text(value, foreign_text::message_about);
    let of_inner = |name| inner.and_then(|inner| inner.get(name));
    let of_error = |name| error.and_then(|error| error.get(name));
    Some(Refusal {
        reason: id(of_inner("reason")).or_else(|| id(of_error("code"))),
        message: message(of_inner("message"))
            .or_else(|| message(of_error("message")))
            .or_else(|| message(error)),
        // Not shortened: a partial document is worthless.
        signature: inner
            .and_then(|inner| inner.get("signature"))
            .and_then(Value::as_str)
            .map(str::to_owned),
    })
}
