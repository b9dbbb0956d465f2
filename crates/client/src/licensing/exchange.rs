//! One call to the License Server, from the request to what its answer means.
//!
//! Every call goes through [`exchange`], so that none of them forgets a step:
//! send, judge, follow newer key sets, note the time that is proven and how long to wait, count,
//! log.

use license_core::hardware::Verdict;
use license_core::license_key;
use license_core::protocol::Call;
use license_core::response::{Contact, Question, Request};

use crate::app::App;
use crate::identity::Identity;
use crate::licensing::catch_up::catch_up;
use crate::random;
use crate::upstream::{Prover, Sender};

/// Makes a call. The caller applies the result.
pub async fn exchange<R: Request>(app: &App, identity: &Identity, request: &R) -> Contact<R::Yes> {
    let newest_seq = app.snapshot().evidence.newest_seq(request.license_key());
    exchange_about(app, identity, request, newest_seq).await
}

/// Makes a call about a license for which `newest_seq` is the highest sequence number to report. An
/// answer must also be newer than what the installation remembers.
pub async fn exchange_about<R: Request>(
    app: &App,
    identity: &Identity,
    request: &R,
    newest_seq: Option<u64>,
) -> Contact<R::Yes> {
    let sent = app.clock.running();
    let nonce = random::nonce();
    let sender = sender(app, identity, request.license_key(), newest_seq);
    let reply = app.upstream.ask(&sender, request, &nonce).await;
    let remembered = app.knowledge.remembered();
    let code_hash = request.code().map(license_key::fingerprint);
    let question = Question {
        nonce: &nonce,
        license_key: request.license_key(),
        code_hash: code_hash.as_deref(),
        installation_id: &identity.installation_id,
        hardware_id: &identity.hardware_id,
        newest_seq: remembered.newest_seq(request.license_key()).max(newest_seq),
    };
    let mut contact = R::judge(&reply, &question, &app.keys.trust());
    if let Contact::None(why) = &contact
        && why.is_unknown_key()
        && catch_up(app).await
    {
        contact = R::judge(&reply, &question, &app.keys.trust());
    }
    if let Some((signed_at, newest)) = contact.proof() {
        app.knowledge.prove_time(signed_at, sent);
        if newest > app.keys.version() {
            catch_up(app).await;
        }
    }
    // A server that answers may be asked again.
    let retry_after = match &contact {
        Contact::Confirmed(_) | Contact::Denied(_) => None,
        Contact::None(why) => why.retry_after(),
    };
    let now = app.clock.now();
    app.knowledge
        .note_call(|calls| calls.asked_to_wait(retry_after, now, random::jitter()));
    app.metrics.contacted(R::CALL, &contact);
    log(R::CALL, request.license_key(), &contact);
    contact
}

/// What a request tells the License Server about its sender.
fn sender(app: &App, identity: &Identity, license_key: &str, newest_seq: Option<u64>) -> Sender {
    let comparison = app.knowledge.comparison();
    let drift = comparison.filter(|it| it.verdict == Verdict::Drifted);
    Sender {
        installation_id: identity.installation_id.clone(),
        newest_seq,
        drift: drift.map(|comparison| comparison.changed().collect()),
        prover: app.knowledge.installation_key().map(|key| Prover {
            key,
            document: app.snapshot().evidence.document(license_key),
            at: app.clock.now(),
        }),
    }
}

fn log<Y>(call: Call, license_key: &str, contact: &Contact<Y>) {
    let call = call.as_str();
    let license_key = license_key::mask(license_key);
    match contact {
        Contact::Confirmed(_) => {
            tracing::info!(call, license_key, "the License Server accepted the call");
        }
        Contact::Denied(denial) => tracing::warn!(
            call,
            license_key,
            reason = denial.reason(),
            said = denial.message(),
            "the License Server refused the call"
        ),
        Contact::None(why) if why.is_suspicious() => tracing::error!(
            security = true,
            call,
            license_key,
            reason = why.code(),
            "no contact with the License Server: {why}"
        ),
        Contact::None(why) => tracing::warn!(
            call,
            license_key,
            reason = why.code(),
            "no contact with the License Server: {why}"
        ),
    }
}
