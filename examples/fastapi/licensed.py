"""Gates FastAPI routes by feature, for HTTP and WebSockets.

    gate = LicenseGate("http://license-client:8010")
    licensed = Licensed(gate)
    app = FastAPI()
    licensed.install(app)

    @app.get("/map", dependencies=[Depends(licensed("module.map_view"))])

A dependency belongs to the route that runs, so no spelling of a path, no `root_path` and
no mount can bypass it. For a whole sub-application:
`FastAPI(dependencies=[Depends(licensed("module.analytics_advanced"))])`.

Core features need no gate.
"""

from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request, WebSocketException
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from license_gate import Decision, LicenseGate

RETRY_AFTER = "5"
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013

MESSAGES = {
    "no_license": "No license is activated on this site",
    "not_in_license": "The license does not include '{feature}'",
    "switched_off": "'{feature}' is switched off on this site",
    "update_not_covered": "The license does not include '{feature}' in the installed release",
    "license_expired": "The license has expired",
    "grace_period_expired": "The grace period has expired; contact the operator",
    "no_contact": "The license cannot be checked right now",
}
OTHER_MESSAGE = "The license is not valid; contact the operator"


class NotLicensed(HTTPException):
    """A refusal: 403, or 503 while the License Client cannot be reached."""

    def __init__(self, feature: str, decision: Decision):
        self.feature, self.decision = feature, decision
        is_temporary = decision.reason == "no_contact"
        message = MESSAGES.get(decision.reason, OTHER_MESSAGE).format(feature=feature)
        headers = {"X-License-Reason": decision.reason}
        if is_temporary:
            headers["Retry-After"] = RETRY_AFTER
        super().__init__(503 if is_temporary else 403, message, headers)

    def websocket(self) -> WebSocketException:
        code = TRY_AGAIN_LATER if self.status_code == 503 else POLICY_VIOLATION
        return WebSocketException(code, self.decision.reason)


class Licensed:
    """Makes route dependencies: `Depends(licensed("module.map_view"))`."""

    def __init__(self, gate: LicenseGate):
        self.gate = gate

    def __call__(self, feature: str):
        # `async`, because FastAPI would run a plain function on another thread.
        async def dependency(connection: HTTPConnection) -> Decision:
            decision = self.gate.check(feature)
            if decision.available:
                return decision
            refusal = NotLicensed(feature, decision)
            raise refusal.websocket() if connection.scope["type"] == "websocket" else refusal

        return dependency

    def install(self, app: FastAPI) -> None:
        """Subscribes to the License Client during the lifespan of `app`, and answers refusals as JSON.

        The application's own lifespan and startup handlers run inside it, in each worker.
        Sub-applications have no lifespan; a refusal in one contains only the message, unless
        this is called for it as well.
        """
        own = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app):
            with self.gate:
                async with own(app) as state:
                    yield state

        app.router.lifespan_context = lifespan
        app.add_exception_handler(NotLicensed, answer)


async def answer(request: Request, refusal: NotLicensed) -> JSONResponse:
    body = {"detail": refusal.detail, "reason": refusal.decision.reason, "feature": refusal.feature}
    return JSONResponse(body, refusal.status_code, refusal.headers)
