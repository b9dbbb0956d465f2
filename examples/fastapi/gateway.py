"""A VMS gateway on FastAPI that asks nobody: decisions are made in the process.

    gateway.py PORT LICENSE_CLIENT_URL
"""

import sys

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from openfeature import api
from openfeature.exception import ErrorCode

from license_provider import LicenseProvider

FEATURES = {
    "/map": "module.map_view",
    "/alarms": "module.alarm_advanced",
    "/live": "module.live_view",
    "/nope": "module.nope",
}


class LicenseGate:
    """Plain ASGI: it gates WebSockets as well, and streams pass through untouched."""

    def __init__(self, app):
        self.app, self.client = app, api.get_client()

    async def __call__(self, scope, receive, send):
        feature = self.feature(scope.get("path", ""))
        if scope["type"] not in ("http", "websocket") or feature is None:
            return await self.app(scope, receive, send)
        decided = self.client.get_boolean_details(feature, False)
        if decided.value:
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        if decided.error_code not in (None, ErrorCode.FLAG_NOT_FOUND):
            answer = JSONResponse({"detail": "The license cannot be checked right now"}, 503)
        else:
            reason = decided.flag_metadata.get("reason", "not_in_license")
            answer = JSONResponse({"detail": "Not licensed", "reason": reason, "feature": feature}, 403)
        await answer(scope, receive, send)

    @staticmethod
    def feature(path):
        # Routes below may be less exact than this is.
        parts = [part.split(";")[0] for part in path.lower().replace("\\", "/").split("/")]
        path = "/" + "/".join(part for part in parts if part)
        for prefix, feature in FEATURES.items():
            if path == prefix or path.startswith(prefix + "/"):
                return feature
        return None


app = FastAPI()
app.add_middleware(LicenseGate)


@app.get("/{page:path}")
async def page(page: str):
    return {"page": page}


if __name__ == "__main__":
    port, license_client = int(sys.argv[1]), sys.argv[2]
    api.set_provider_and_wait(LicenseProvider(license_client))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
