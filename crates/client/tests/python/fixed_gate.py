"""Tests the example gateway without a License Client, as a VMS service would."""

import gateway
from fastapi.testclient import TestClient
from license_gate import FixedGate
from starlette.websockets import WebSocketDisconnect

gateway.licensed.gate = gate = FixedGate({"module.map_view"})
with TestClient(gateway.app) as client:
    for path, status in (("/map/1", 200), ("/alarms/1", 403), ("/live/1", 200), ("/analytics/1", 403)):
        answer = client.get(path)
        assert answer.status_code == status, (path, answer)
    assert answer.json() == {
        "detail": "The license does not include 'module.alarm_advanced'",
        "reason": "not_in_license",
        "feature": "module.alarm_advanced",
    }
    with client.websocket_connect("/map-feed") as feed:
        assert feed.receive_text() == "position\n"
        gate.license(())
        try:
            while True:
                feed.receive_text()
        except WebSocketDisconnect as closed:
            assert (closed.code, closed.reason or "not_in_license") == (1008, "not_in_license")
    assert client.get("/map/1").status_code == 403
print("passed")
