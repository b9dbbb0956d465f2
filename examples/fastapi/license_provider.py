"""An OpenFeature provider that decides in the process.

It follows a License Client, which tells it what the site may use now and what it may
use later if nothing new becomes known. An evaluation looks into memory, so it may be
made on an event loop, and a license that ends, ends without a message. Without contact
what was told holds until the end that was told with it.

    api.set_provider(LicenseProvider("http://license-client:8010"))
    api.get_client().get_boolean_value("module.map_view", False)

Python 3.11, openfeature-sdk 0.10, httpx.
"""

import json
import threading
import time
from datetime import datetime, timedelta, timezone

import httpx
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, FlagNotFoundError, ProviderNotReadyError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

CONNECTING = 5.0
# A License Client sends something every 15 s.
SILENCE = 45.0
LONGEST_PAUSE = 5.0
LONGEST_EVENT = 4 * 1024 * 1024
LIMIT = "limit."
# Recording and live view wait for nobody.
CORE = {
    "module.camera_management",
    "module.live_view",
    "module.recording_basic",
    "module.playback",
    "module.user_management",
}


class LicenseProvider(AbstractProvider):
    def __init__(self, license_client):
        super().__init__()
        self._events = license_client.rstrip("/") + "/api/license/events"
        self._told = None
        self._stop = threading.Event()

    def get_metadata(self):
        return Metadata(name="License Client")

    def initialize(self, evaluation_context):
        # Nobody waits: core features are available before the License Client has answered.
        threading.Thread(target=self._follow, name="license", daemon=True).start()

    def shutdown(self):
        self._stop.set()

    def _follow(self):
        pause, in_contact = 0.1, True
        # A License Client is next door, and no proxy is before it.
        with httpx.Client(timeout=httpx.Timeout(CONNECTING, read=SILENCE), trust_env=False) as http:
            while not self._stop.is_set():
                try:
                    with http.stream("GET", self._events) as answer:
                        answer.raise_for_status()
                        for line in lines(answer):
                            if self._stop.is_set():
                                return
                            if line.startswith(b"data:"):
                                self._hear(line[5:], in_contact)
                                pause, in_contact = 0.1, True
                    why = "the License Client has ended the connection"
                except Exception as error:  # whatever it is, the thread has to live
                    why = str(error) or type(error).__name__
                if in_contact and self._told:
                    self.emit_provider_stale(ProviderEventDetails(message=why, error_code=ErrorCode.GENERAL))
                in_contact = False
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _hear(self, text, in_contact):
        # Read as a whole, or not at all.
        announcement = json.loads(text)
        states = [(None, announcement["standing"], features(announcement))]
        for later in announcement["then"]:
            states.append((instant(later["after"]), later["standing"], features(later)))
        limits = {str(name): limit for name, limit in announcement["limits"].items()}
        is_first = self._told is None
        self._told = (states, limits, instant(announcement["now"]), boot_clock())
        if not in_contact:
            self.emit_provider_ready(ProviderEventDetails())
        elif not is_first:
            self.emit_provider_configuration_changed(ProviderEventDetails())

    def _state(self):
        """Standing and features that hold now, of what was told."""
        if self._told is None:
            raise ProviderNotReadyError("nothing has been heard of the License Client yet")
        states, _, then, heard_at = self._told
        now = then + timedelta(seconds=boot_clock() - heard_at)
        _, standing, known = [it for it in states if it[0] is None or it[0] < now][-1]
        return standing, known

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        if self._told is None and flag_key in CORE:
            return FlagResolutionDetails(value=True, reason=Reason.STATIC, flag_metadata={"reason": "core"})
        standing, known = self._state()
        if flag_key not in known:
            if flag_key.startswith(LIMIT):
                raise TypeMismatchError(f"'{flag_key}' is a number")
            raise FlagNotFoundError(f"there is no feature '{flag_key}'")
        available, why = known[flag_key]
        return FlagResolutionDetails(
            value=available,
            reason=Reason.STATIC,
            variant="on" if available else "off",
            flag_metadata={"reason": why, "standing": standing},
        )

    def resolve_integer_details(self, flag_key, default_value, evaluation_context=None):
        """A limit; -1 is none."""
        _, known = self._state()
        if flag_key in known:
            raise TypeMismatchError(f"'{flag_key}' is a boolean")
        limits = self._told[1]
        resource = flag_key.removeprefix(LIMIT)
        if not flag_key.startswith(LIMIT) or resource not in limits:
            raise FlagNotFoundError(f"there is no limit '{flag_key}'")
        limit = limits[resource]
        return FlagResolutionDetails(value=-1 if limit is None else limit, reason=Reason.STATIC)

    def resolve_float_details(self, flag_key, default_value, evaluation_context=None):
        details = self.resolve_integer_details(flag_key, 0, evaluation_context)
        return FlagResolutionDetails(value=float(details.value), reason=details.reason)

    def resolve_string_details(self, flag_key, default_value, evaluation_context=None):
        raise TypeMismatchError("features are booleans, and limits integers")

    def resolve_object_details(self, flag_key, default_value, evaluation_context=None):
        raise TypeMismatchError("features are booleans, and limits integers")


def features(state):
    """What is told of each feature; core features are on wherever there is a license."""
    known = {str(key): (bool(told["available"]), str(told["reason"])) for key, told in state["features"].items()}
    if state["standing"] != "unlicensed":
        known.update((key, (True, "core")) for key in CORE)
    return known


def instant(text):
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def lines(answer):
    """The lines of an answer, none of them without an end."""
    rest = b""
    for chunk in answer.iter_bytes():
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > LONGEST_EVENT:
            raise ValueError("an event of the License Client has no end")


def boot_clock():
    """Seconds since the machine was started, with suspends."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
