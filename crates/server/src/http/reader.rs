//! Who reads a response that is sent while it is read.

use crate::http::caller::Caller;

/// Who reads a response. The layers that identify callers add it to the request.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(super) caller: Caller,
    /// The session of a browser; `None` for a program with a token.
    pub(super) session: Option<String>,
}

impl Reader {
    /// A program.
    pub(super) fn with_token(caller: Caller) -> Self {
        let session = None;
        Self { caller, session }
    }

    /// A browser.
    pub(crate) fn in_session(caller: Caller, session: String) -> Self {
        let session = Some(session);
        Self { caller, session }
    }
}
