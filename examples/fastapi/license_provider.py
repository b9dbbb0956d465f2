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
from datetime import datetime, timedelta

import httpx
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, FlagNotFoundError, ProviderNotReadyError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

CONNECTING = 5.0
# A License Client sends something every 15 s.
SILENCE = 45.0
LONGEST_PAUSE = 5.0
LIMIT = "limit."


class LicenseProvider(AbstractProvider):
    def __init__(self, license_client):
        super().__init__()
        self._events = license_client.rstrip("/") + "/api/license/events"
        self._told = None
        self._first, self._stop = threading.Event(), threading.Event()

    def get_metadata(self):
        return Metadata(name="License Client")

    def initialize(self, evaluation_context):
        threading.Thread(target=self._follow, name="license", daemon=True).start()
        if not self._first.wait(CONNECTING):
            # The thread goes on, and says READY when it has heard something.
            raise ProviderNotReadyError(f"{self._events} has not answered yet")

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
                        for line in answer.iter_lines():
                            if self._stop.is_set():
                                return
                            if line.startswith("data:"):
                                self._hear(json.loads(line[5:]), in_contact)
                                pause, in_contact = 0.1, True
                    why = "the License Client has ended the connection"
                except Exception as error:  # whatever it is, the thread has to live
                    why = str(error) or type(error).__name__
                if in_contact and self._told:
                    self.emit_provider_stale(ProviderEventDetails(message=why, error_code=ErrorCode.GENERAL))
                in_contact = False
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _hear(self, announcement, in_contact):
        is_first = self._told is None
        self._told = (announcement, datetime.fromisoformat(announcement["now"]), boot_clock())
        if is_first and not self._first.is_set():
            self._first.set()
        elif not in_contact:
            self.emit_provider_ready(ProviderEventDetails())
        else:
            self.emit_provider_configuration_changed(ProviderEventDetails())

    def _state(self):
        """What holds now, of what was told."""
        if self._told is None:
            raise ProviderNotReadyError("nothing has been heard of the License Client yet")
        announcement, then, heard_at = self._told
        now = then + timedelta(seconds=boot_clock() - heard_at)
        state = announcement
        for later in announcement["then"]:
            if datetime.fromisoformat(later["after"]) < now:
                state = later
        return announcement, state

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        announcement, state = self._state()
        told = state["features"].get(flag_key)
        if told is None:
            if flag_key.startswith(LIMIT):
                raise TypeMismatchError(f"'{flag_key}' is a number")
            raise FlagNotFoundError(f"there is no feature '{flag_key}'")
        metadata = {"reason": told["reason"], "standing": state["standing"]}
        return FlagResolutionDetails(
            value=told["available"],
            reason=Reason.STATIC,
            variant="on" if told["available"] else "off",
            flag_metadata=metadata,
        )

    def resolve_integer_details(self, flag_key, default_value, evaluation_context=None):
        """A limit; -1 is none."""
        announcement, state = self._state()
        if flag_key in state["features"]:
            raise TypeMismatchError(f"'{flag_key}' is a boolean")
        resource = flag_key.removeprefix(LIMIT)
        if not flag_key.startswith(LIMIT) or resource not in announcement["limits"]:
            raise FlagNotFoundError(f"there is no limit '{flag_key}'")
        limit = announcement["limits"][resource]
        return FlagResolutionDetails(value=-1 if limit is None else limit, reason=Reason.STATIC)

    def resolve_float_details(self, flag_key, default_value, evaluation_context=None):
        details = self.resolve_integer_details(flag_key, 0, evaluation_context)
        return FlagResolutionDetails(value=float(details.value), reason=details.reason)

    def resolve_string_details(self, flag_key, default_value, evaluation_context=None):
        raise TypeMismatchError("features are booleans, and limits integers")

    def resolve_object_details(self, flag_key, default_value, evaluation_context=None):
        raise TypeMismatchError("features are booleans, and limits integers")


def boot_clock():
    """Seconds since the machine was started, with suspends."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
