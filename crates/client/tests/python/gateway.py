"""A VMS gateway with the middleware of version 1.0.0's README, on FastAPI and
httpx. As printed there it awaits a synchronous call; this one uses httpx's
asynchronous client.

    gateway.py PORT LICENSE_CLIENT_URL
"""

import sys

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

FEATURES = {
    "/analytics": "module.analytics_advanced",
    "/alarms": "module.alarm_advanced",
    "/live": "module.live_view",
}

app = FastAPI()
port, license_client = int(sys.argv[1]), sys.argv[2]


def requires_license(path):
    return path in FEATURES


def get_feature_key(path):
    return FEATURES[path]


@app.middleware("http")
async def check_feature_access(request, call_next):
    if requires_license(request.url.path):
        async with httpx.AsyncClient() as client:
            response = await client.post(
                f"{license_client}/api/license/feature/check",
                json={"featureKey": get_feature_key(request.url.path)},
            )
        if not response.json()["available"]:
            return JSONResponse(status_code=403, content={"error": "Feature not licensed"})
    return await call_next(request)


@app.get("/{page}")
async def page(page: str):
    return {"page": page}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
