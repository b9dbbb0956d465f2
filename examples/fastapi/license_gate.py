"""Decides in-process what a site may use, by subscribing to a License Client.

    gate = LicenseGate("http://license-client:8010")
    with gate:
        gate.check("module.map_view").available

The License Client sends what the site may use now, and what it may use later if nothing
changes. A check reads memory only, so it never waits, and a license that ends needs no
message. Core features (recording, live view) are available even before the first contact.

Python 3.11, standard library only. `licensed.py` gates FastAPI routes with it, and
`license_provider.py` makes it an OpenFeature provider.
"""

import asyncio
# Name resolution imports this. A fork while another thread imports it would block the child.
import encodings.idna
import http.client
import json
import logging
import math
import os
import random
import socket
import ssl
import threading
import time
import weakref
from datetime import datetime, timezone
from typing import NamedTuple
from urllib.parse import urlsplit

# Timeout in seconds for connecting and for each read of the response headers.
CONNECT_TIMEOUT = 5.0
# Timeout in seconds for all response headers; any number of 100 Continue may come first.
HEAD_TIMEOUT = 10.0
# A connection is renewed after this time in seconds, or after six idle timeouts. Otherwise,
# another program that listened on the port for a moment could keep the connection.
MAX_AGE = 300.0
# The License Client sends a comment every 15 s.
IDLE_TIMEOUT = 45.0
FIRST_WAIT = 0.1
MAX_WAIT = 5.0
# 10,000 features with keys of the maximum length take 8 MB.
MAX_EVENT_BYTES = 12 * 1024 * 1024
READ_BYTES = 64 * 1024
# Streams check the clock at this interval, because the machine may have been suspended.
CLOCK_INTERVAL = 5.0
REMINDER_INTERVAL = 60 * 60.0
MAX_LOGGED = 16
MAX_ERROR_CHARS = 200
MAX_UNKNOWN_FEATURES = 32

CORE_FEATURES = frozenset(
    {
        "module.camera_management",
        "module.live_view",
        "module.recording_basic",
        "module.playback",
        "module.user_management",
    }
)

log = logging.getLogger("license_gate")


class Decision(NamedTuple):
    """Whether a feature may be used, and the License Client's reason code."""

    available: bool
    reason: str


CORE = Decision(True, "core")
NO_CONTACT = Decision(False, "no_contact")


class ContactError(Exception):
    """Why there is no contact with the License Client. The text contains no secret."""


class State(NamedTuple):
    """What the site may use up to and including an instant of `boot_clock`."""

    until: float
    standing: str
    features: dict[str, Decision]
    unlisted: Decision
    # None means no limit.
    limits: dict[str, int | None]


class Announcement(NamedTuple):
    """The License Client's last message."""

    # In chronological order; the last one has no end.
    states: list[State]

    def at(self, now):
        return next(state for state in self.states if now <= state.until)


class LicenseGate:
    """Subscribes to the License Client at `url` on a separate thread.

    `token` is sent as a bearer token, for a proxy that asks for one. `ssl_context` is for
    an https address with a private certificate authority.

    Without contact, the last announcement stays valid until its announced end: the end of
    the grace period or of the license. With `max_silence` (seconds, at least 30), licensed
    features are refused earlier, after that time without data. Core features are never
    refused for lack of contact.

    Each forked process has its own subscription. `start` and `stop` may be repeated.
    """

    def __init__(self, url, *, token=None, max_silence=None, idle_timeout=IDLE_TIMEOUT, ssl_context=None, on_event=None):
        self.address = Address(url, token, ssl_context)
        if max_silence is not None and not max_silence >= 30:
            raise ValueError("max_silence must be at least 30 s: the License Client sends something every 15 s")
        self._max_silence = math.inf if max_silence is None else max_silence
        self._idle_timeout = idle_timeout
        self._on_event = on_event or (lambda event, why: None)
        self._lock = threading.Lock()
        self._follower = None
        self._is_stopped = False
        self._start_again_at = -math.inf
        self._announcement = None
        self._heard_at = -math.inf
        self._waiting = set()
        self._unknown = set()
        self.last_error = None
        _gates.add(self)

    def start(self):
        """Starts the subscription. Returns immediately, even without a License Client."""
        with self._lock:
            self._is_stopped = False
        self._ensure_following()

    def stop(self):
        """Ends the subscription: licensed features are refused until the next start."""
        with self._lock:
            self._is_stopped = True
            follower, self._follower = self._follower, None
            self._announcement, self._heard_at = None, -math.inf
        if follower:
            follower.stop()
        self._wake()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def check(self, feature):
        """The decision about a feature. This only reads memory, so an event loop may call it."""
        self._ensure_following()
        # Followers replace announcements but never modify them.
        announcement, now = self._announcement, boot_clock()
        if announcement is None:
            return CORE if feature in CORE_FEATURES else NO_CONTACT
        state = announcement.at(now)
        decision = state.features.get(feature)
        if decision is None:
            self._warn_unknown(feature)
            return state.unlisted
        if decision.available and feature not in CORE_FEATURES and now - self._heard_at > self._max_silence:
            return NO_CONTACT
        return decision

    def is_available(self, feature):
        return self.check(feature).available

    def state(self):
        """The current `State`, or None before the first contact."""
        self._ensure_following()
        announcement = self._announcement
        return announcement and announcement.at(boot_clock())

    def limits(self):
        """The license's limit for each resource; None means no limit."""
        state = self.state()
        return state.limits if state else {}

    def is_in_contact(self):
        """For health pages; decisions follow the rules above."""
        follower = self._follower
        is_recent = boot_clock() - self._heard_at <= self._idle_timeout
        return bool(follower and follower.is_alive() and follower.is_in_contact and is_recent)

    async def until_unavailable(self, feature):
        """Waits until the feature is unavailable, and returns the decision.

        Returns immediately if the feature is already unavailable.
        """
        loop = asyncio.get_running_loop()
        while True:
            changed = loop.create_future()
            waiting = (loop, changed)
            with self._lock:
                self._waiting.add(waiting)
            try:
                decision = self.check(feature)
                if not decision.available:
                    return decision
                await asyncio.wait([changed], timeout=self._holds_for())
            finally:
                with self._lock:
                    self._waiting.discard(waiting)

    async def run_while_available(self, feature, work):
        """Awaits `work`. If the feature becomes unavailable, cancels it and returns the decision."""
        work = asyncio.ensure_future(work)
        refused = asyncio.ensure_future(self.until_unavailable(feature))
        try:
            await asyncio.wait({work, refused}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return refused.result()
            work.result()
            return None
        finally:
            await cancel(work, refused)

    async def stream_while_available(self, feature, chunks):
        """Passes on an asynchronous generator, and ends when the feature becomes unavailable."""
        refused = asyncio.ensure_future(self.until_unavailable(feature))
        chunk = None
        try:
            while True:
                chunk = asyncio.ensure_future(anext(chunks))
                await asyncio.wait({chunk, refused}, return_when=asyncio.FIRST_COMPLETED)
                if refused.done():
                    return
                try:
                    ready = chunk.result()
                except StopAsyncIteration:
                    return
                yield ready
        finally:
            await cancel(*filter(None, (chunk, refused)))
            await chunks.aclose()

    def _holds_for(self):
        announcement, now = self._announcement, boot_clock()
        until = announcement.at(now).until if announcement else math.inf
        silent = self._heard_at + self._max_silence
        ends = (end - now + 0.001 for end in (until, silent) if end >= now)
        return min([CLOCK_INTERVAL, *ends])

    def _ensure_following(self):
        follower = self._follower
        # After a fork of any kind, the thread does not exist.
        if self._is_stopped or (follower and follower.is_alive()):
            return
        with self._lock:
            if self._is_stopped or (self._follower and self._follower.is_alive()):
                return
            if boot_clock() < self._start_again_at:
                return
            follower = Follower(self, self.address, self._idle_timeout)
            try:
                follower.start()
            except RuntimeError as error:
                # No thread can be created now. Keep the known state; a later check retries.
                self._start_again_at = boot_clock() + MAX_WAIT
                log.error("cannot start the thread that follows the License Client: %s", error)
                return
            self._follower = follower

    def _forked(self):
        """In the child: locks may be held, and the thread and its event loops are gone."""
        self._lock = threading.Lock()
        self._waiting = set()
        follower, self._follower = self._follower, None
        if follower:
            self._ensure_following()

    # The following methods are called by followers.

    def _heard(self, follower):
        with self._lock:
            if self._follower is follower:
                self._heard_at = boot_clock()

    def _announced(self, follower, announcement):
        with self._lock:
            # Ignore a follower that was replaced.
            if self._follower is not follower:
                return
            is_first = self._announcement is None
            self._announcement, self.last_error = announcement, None
        was_in_contact, follower.is_in_contact = follower.is_in_contact, True
        self._wake()
        if not was_in_contact:
            log.info("in contact with the License Client at %s", self.address)
        self._report("changed" if was_in_contact and not is_first else "found", None)

    def _lost(self, follower, why):
        if self._follower is not follower:
            return
        self.last_error = why
        was_in_contact, follower.is_in_contact = follower.is_in_contact, False
        if was_in_contact:
            self._report("lost", why)

    def _report(self, event, why):
        try:
            self._on_event(event, why)
        except Exception:
            log.exception("a handler of license events failed")

    def _wake(self):
        with self._lock:
            waiting = tuple(self._waiting)
        for loop, changed in waiting:
            try:
                loop.call_soon_threadsafe(finish, changed)
            except RuntimeError:
                pass  # the loop is closed

    def _warn_unknown(self, feature):
        if feature not in self._unknown and len(self._unknown) < MAX_UNKNOWN_FEATURES:
            self._unknown.add(feature)
            log.warning("neither the product nor the license has a feature %r", feature[:100])


class FixedGate(LicenseGate):
    """For tests of a service: only `features` and core features are available. Needs no License Client.

        gateway.licensed.gate = FixedGate({"module.map_view"})
    """

    def __init__(self, features=()):
        super().__init__("http://localhost")
        self.license(features)

    def license(self, features):
        """Replaces the available features; streams of other features end."""
        known = {**dict.fromkeys(features, Decision(True, "licensed")), **dict.fromkeys(CORE_FEATURES, CORE)}
        state = State(math.inf, "active", known, Decision(False, "not_in_license"), {})
        self._announcement = Announcement([state])
        self._wake()

    def start(self):
        pass

    def stop(self):
        pass

    def _ensure_following(self):
        pass

    def _warn_unknown(self, feature):
        pass


class Follower:
    """The subscription thread. A gate gets a new one with each start and each fork."""

    def __init__(self, gate, address, idle_timeout):
        self.is_in_contact = False
        self._gate, self._address, self._idle_timeout = gate, address, idle_timeout
        self._pid = os.getpid()
        self._stopping = threading.Event()
        self._socket = None
        self._logged, self._logged_at = set(), -math.inf
        self._thread = threading.Thread(target=self._run, name="license-gate", daemon=True)
        _followers.add(self)

    def start(self):
        self._thread.start()

    def is_alive(self):
        return self._pid == os.getpid() and self._thread.is_alive()

    def stop(self):
        """Wakes the thread, which then ends."""
        self._stopping.set()
        self._shut()

    def _shut(self):
        """Ends all waiting for the connection."""
        connection = self._socket
        if connection:
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                pass  # already closed

    def abandon(self):
        """Closes a forked process's copy of the connection, which would keep it open."""
        connection, self._socket = self._socket, None
        descriptor = connection.detach() if connection else -1
        if descriptor >= 0:
            os.close(descriptor)

    def _run(self):
        wait = FIRST_WAIT
        while not self._stopping.is_set():
            begun = boot_clock()
            try:
                self._follow()
            except Exception as error:  # the thread must survive any error
                why = str(error)[:MAX_ERROR_CHARS] or type(error).__name__
            else:
                continue  # renewal: the decisions stay until the new connection has sent new ones
            if self._stopping.is_set():
                return
            self._log(why)
            self._gate._lost(self, why)
            # Reset the wait only if the connection had lasted for some time.
            wait = FIRST_WAIT if boot_clock() - begun > MAX_WAIT else wait
            self._stopping.wait(wait)
            wait = min(2 * wait, MAX_WAIT)

    def _follow(self):
        """Connects and passes on events. Returns when the connection is due for renewal; raises if contact is lost."""
        connection, response = self._address.connection(), None
        try:
            self._connect(min(CONNECT_TIMEOUT, self._idle_timeout))
            connection.sock = self._socket
            if self._stopping.is_set():
                return
            connection.request("GET", self._address.path, headers=self._address.headers)
            late = threading.Timer(HEAD_TIMEOUT, self._shut)
            late.daemon = True
            late.start()
            try:
                response = connection.getresponse()
            finally:
                late.cancel()
            check_answer(response)
            ends = boot_clock() + min(MAX_AGE, 6 * self._idle_timeout) * random.uniform(0.9, 1)
            self._socket.settimeout(self._idle_timeout)
            for line in lines(response, self._idle_timeout):
                if self._stopping.is_set():
                    return
                self._gate._heard(self)
                if line.startswith(b"data:"):
                    self._gate._announced(self, read(line[5:]))
                    self._logged.clear()
                if boot_clock() > ends:
                    return
            raise ContactError("the License Client has closed the connection")
        finally:
            with _forking:
                connection.close()
                if response:
                    response.close()
                self._close()

    def _connect(self, timeout):
        """Connects to the first address that answers, as `socket.create_connection` does."""
        address, why = self._address, ContactError("the name has no address")
        for family, kind, protocol, _, target in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
            try:
                with _forking:
                    self._socket = socket.socket(family, kind, protocol)
                self._socket.settimeout(timeout)
                self._socket.connect(target)
                break
            except OSError as error:
                why = error
                with _forking:
                    self._close()
        else:
            raise why
        if address.tls:
            with _forking:
                self._socket = address.tls.wrap_socket(
                    self._socket, server_hostname=address.host, do_handshake_on_connect=False
                )
            self._socket.do_handshake()

    def _close(self):
        """The caller must hold `_forking`."""
        connection, self._socket = self._socket, None
        if connection:
            connection.close()

    def _log(self, why):
        """Logs a reason as a warning if it is new, and every hour."""
        now = boot_clock()
        is_new = why not in self._logged and len(self._logged) < MAX_LOGGED
        is_due = is_new or now - self._logged_at > REMINDER_INTERVAL
        if is_due:
            self._logged.add(why)
            self._logged_at = now
        what = "contact with the License Client at %s is lost: %s"
        if not self.is_in_contact:
            what = "no contact with the License Client at %s: %s"
        log.log(logging.WARNING if is_due else logging.DEBUG, what, self._address, why)


class Address:
    """Where the License Client is. Its text contains no secret."""

    def __init__(self, url, token, ssl_context):
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("the License Client's address is not a URL") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("the License Client's address must begin with http:// or https:// and a host")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("the License Client's address must not have a password, query or fragment; use token=")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError("the token contains characters that a header cannot contain")
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ValueError("the License Client's address contains spaces, control characters or non-ASCII")
        is_tls = parts.scheme == "https"
        self.host, self.port = host, port or (443 if is_tls else 80)
        self.tls = (ssl_context or ssl.create_default_context()) if is_tls else None
        self._text = f"{parts.scheme}://{parts.netloc}"
        self.path = parts.path.rstrip("/") + "/api/license/events"
        self.headers = {"Accept": "text/event-stream"}
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"

    def __str__(self):
        return self._text

    def connection(self):
        """An HTTP connection whose socket the caller connects."""
        # The License Client is on the local network, so proxy environment variables are ignored.
        connection = http.client.HTTPConnection(self.host, self.port)
        connection.default_port = 443 if self.tls else 80
        return connection


def check_answer(response):
    if response.status == 401:
        raise ContactError("401: the token is missing or wrong")
    if response.status != 200:
        raise ContactError(f"the response has status {response.status}, expected 200")
    if response.headers.get_content_type() != "text/event-stream":
        raise ContactError("the response is not an event stream; is this a License Client?")


def lines(response, idle_timeout):
    """The lines of a response; each must end before the timeout."""
    rest, begun = bytearray(), boot_clock()
    while chunk := response.read1(READ_BYTES):
        rest += chunk
        if b"\n" in chunk:
            *whole, rest = rest.split(b"\n")
            yield from whole
            begun = boot_clock()
        elif len(rest) > MAX_EVENT_BYTES:
            raise ContactError(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        elif boot_clock() - begun > idle_timeout:
            raise ContactError(f"a line did not end within {idle_timeout} s")


def read(text):
    """The complete announcement, or a `ContactError`."""
    heard_at = boot_clock()
    try:
        told = json.loads(text)
        now = instant(told["now"])
        later = sorted(told["then"], key=lambda state: instant(state["after"]))
        ends = [heard_at + (instant(state["after"]) - now).total_seconds() for state in later]
        states, limits = [], told["limits"]
        for one, until in zip([told, *later], [*ends, math.inf]):
            # A later state names its limits only if they change.
            limits = one.get("limits", limits)
            states.append(state(one, until, limits))
        return Announcement(states)
    except Exception as error:
        raise ContactError(f"an event cannot be read: {type(error).__name__}") from error


def state(told, until, limits):
    standing = str(told["standing"])
    shared = {}
    features = {str(key): decision(one, shared) for key, one in told["features"].items()}
    # With a license, core features are never refused.
    if standing != "unlicensed":
        features.update(dict.fromkeys(CORE_FEATURES, CORE))
    # An unlisted feature is never available.
    unlisted = Decision(False, decision(told["unlisted"], {}).reason)
    limits = {str(name): None if most is None else int(most) for name, most in limits.items()}
    return State(until, standing, features, unlisted, limits)


def decision(told, shared):
    # Anything except `true` is a refusal.
    made = Decision(told["available"] is True, str(told["reason"]))
    return shared.setdefault(made, made)


def instant(text):
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def boot_clock():
    """Seconds since the machine started, including suspends. Wall clock changes have no effect."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def finish(future):
    if not future.done():
        future.set_result(None)


async def cancel(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


_gates = weakref.WeakSet()
# Includes followers that were stopped but have not ended yet.
_followers = weakref.WeakSet()
# Held briefly while a socket is opened or closed. A fork waits for it, so that the child knows
# every copy of a connection that it must close.
_forking = threading.Lock()


def _after_fork():
    _forking.release()
    for follower in tuple(_followers):
        follower.abandon()
    for gate in tuple(_gates):
        gate._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_after_fork)
