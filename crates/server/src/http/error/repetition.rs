//! Calls whose `Idempotency-Key` was used before, and that get no stored answer.

use std::time::Duration;

use crate::keyed_call::Repeated;

/// How long the caller is asked to wait for the answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What is wrong, and what to do.
pub(super) fn message(repeated: &Repeated) -> String {
    match repeated {
        Repeated::OtherCaller(at) => format!(
            "The Idempotency-Key was used at {at} by another caller. Nothing was changed. Use a new \
             key for each call"
        ),
        Repeated::OtherRequest(at) => format!(
            "The Idempotency-Key was used at {at} for a request with another method, path or body. \
             Nothing was changed. Use a new key for each call, and repeat a call without changing it"
        ),
        Repeated::Unanswered { at, done } => {
            let done = done.as_deref().unwrap_or("the call was processed");
            format!(
                "The answer to this call is not available, and nothing was changed again. What was \
                 done at {at}: {done}; the audit log has the details. The call may still be \
                 answered: repeat it in a few seconds. If the answer is still missing, look up the \
                 result, and use a new key to change something else"
            )
        }
        Repeated::InProgress | Repeated::Answer { .. } => {
            "A call with this Idempotency-Key is being \
            processed; wait a few seconds, then repeat the call"
                .to_owned()
        }
    }
}

/// A short code for programs.
pub(super) fn code(repeated: &Repeated) -> &'static str {
    match repeated {
        Repeated::OtherCaller(_) | Repeated::OtherRequest(_) => "idempotency_key_reused",
        Repeated::Unanswered { .. } => "answer_missing",
        Repeated::InProgress | Repeated::Answer { .. } => "still_processing",
    }
}

/// How long to wait before repeating the call, if waiting helps.
pub(super) fn retry_after(repeated: &Repeated) -> Option<Duration> {
    match repeated {
        Repeated::OtherCaller(_) | Repeated::OtherRequest(_) => None,
        Repeated::Unanswered { .. } | Repeated::InProgress | Repeated::Answer { .. } => {
            Some(ANSWER_WAIT)
        }
    }
}
