"""A VMS gateway on FastAPI whose routes are gated by the site's license.

    LICENSE_CLIENT_URL=http://license-client:8010 uvicorn gateway:app

Any ASGI server works, with any number of workers: `fastapi run gateway.py`, or
`gunicorn --worker-class uvicorn_worker.UvicornWorker gateway:app`, also with `--preload`.
For a quick try:

    gateway.py PORT LICENSE_CLIENT_URL
"""

import asyncio
import os
import sys

import uvicorn
from fastapi import Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from license_gate import Decision, LicenseGate
from licensed import Licensed

max_silence = os.environ.get("LICENSE_MAX_SILENCE")
gate = LicenseGate(
    os.environ.get("LICENSE_CLIENT_URL", "http://127.0.0.1:8000"),
    # Seconds without contact after which licensed features are refused.
    max_silence=float(max_silence) if max_silence else None,
)
licensed = Licensed(gate)
app = FastAPI()
licensed.install(app)


# Core features need no gate.
@app.get("/live/{page:path}")
async def live(page: str):
    return {"page": page}


@app.get("/map-stream")
async def map_stream(decision: Decision = Depends(licensed("module.map_view"))):
    """A stream ends when the license does."""
    chunks = licensed.gate.stream_while_available("module.map_view", positions())
    return StreamingResponse(chunks, media_type="text/plain")


@app.websocket("/map-feed")
async def map_feed(connection: WebSocket, decision: Decision = Depends(licensed("module.map_view"))):
    await connection.accept()
    refused = await licensed.gate.run_while_available("module.map_view", feed(connection))
    if refused:
        await connection.close(1008, refused.reason)


@app.get("/map/{page:path}", dependencies=[Depends(licensed("module.map_view"))])
async def map_view(page: str):
    return {"page": page}


@app.get("/alarms/{page:path}", dependencies=[Depends(licensed("module.alarm_advanced"))])
async def alarms(page: str):
    return {"page": page}


# A misspelled feature is refused on every site and logged.
@app.get("/nope/{page:path}", dependencies=[Depends(licensed("module.nope"))])
async def nope(page: str):
    return {"page": page}


# Every route of a sub-application is gated.
analytics = FastAPI(dependencies=[Depends(licensed("module.alarm_advanced"))])
licensed.install(analytics)
app.mount("/analytics", analytics)


@analytics.get("/{page:path}")
async def report(page: str):
    return {"page": page}


async def positions():
    while True:
        yield "position\n"
        await asyncio.sleep(1)


async def feed(connection: WebSocket):
    async for position in positions():
        await connection.send_text(position)


if __name__ == "__main__":
    os.environ["LICENSE_CLIENT_URL"] = sys.argv[2]
    uvicorn.run("gateway:app", host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
