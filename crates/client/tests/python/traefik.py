"""What Traefik 3 does with forwardAuth, as its documentation says: the reference page of
the middleware, and of routers.

    traefik.py PORT DYNAMIC_CONFIGURATION.yaml

- The auth request is a GET without a body, to `address`, with the visitor's headers that
  `authRequestHeaders` lists, and X-Forwarded-Method, -Proto, -Host, -Uri and -For, which
  replace the visitor's own unless `trustForwardHeader` is true.
- 2xx: the headers in `authResponseHeaders` are removed from the request, then copied from
  the answer; the request is passed on.
- Anything else: status, headers and body of the answer are the visitor's answer.
- No answer: 500, and no body.
- A request that is passed on to a service has the visitor's Host (`passHostHeader` is true by default)
  and X-Forwarded headers of Traefik's own.
- HostRegexp compares the host in lower case, without its port; `!` negates a rule.
- Of the routers that match, the one with the greatest `priority` is taken, and the one
  with the longest rule where none is given.
- `headers.customRequestHeaders` removes the headers that it sets to an empty value, and
  `ipAllowList` answers 403 to addresses outside its ranges.
"""

import http.client
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

import yaml

HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length",
}

with open(sys.argv[2]) as file:
    HTTP = yaml.safe_load(file)["http"]


def call(method, url, headers, body=None):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    path = parts.path or "/"
    connection.request(method, f"{path}?{parts.query}" if parts.query else path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.getheaders(), answer.read()


def canonized_host(headers):
    """The host in lower case, without a port and then without brackets."""
    host = headers.get("Host", "").lower()
    parts = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([^:]*)", host)
    return (parts.group(1) or parts.group(2) or "") if parts else host


def matches(rule, path, headers):
    host = re.fullmatch(r"!HostRegexp\(`(.*)`\)", rule)
    if host:
        return not re.search(host.group(1), canonized_host(headers))
    prefix = re.fullmatch(r"PathPrefix\(`(.*)`\)", rule)
    if prefix:
        return path.startswith(prefix.group(1))
    name, pattern = re.fullmatch(r"HeaderRegexp\(`(.*)`, `(.*)`\)", rule).groups()
    return any(re.search(pattern, value) for value in headers.get_all(name, []))


def router(path, headers):
    matching = [it for it in HTTP["routers"].values() if matches(it["rule"], path, headers)]
    return max(matching, key=lambda it: it.get("priority", len(it["rule"])), default=None)


class Traefik(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, headers=(), body=b""):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        found = router(urlsplit(self.path).path, self.headers)
        if found is None:
            return self.answer(404)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        for name in found["middlewares"]:
            refused = self.through(HTTP["middlewares"][name], headers)
            if refused:
                return self.answer(*refused)
        for name in [name for name in headers if name.lower().startswith("x-forwarded-")]:
            del headers[name]
        headers.update({"X-Forwarded-For": self.client_address[0], "X-Forwarded-Host": self.headers.get("Host", "")})
        length = int(self.headers.get("Content-Length") or 0)
        server = HTTP["services"][found["service"]]["loadBalancer"]["servers"][0]["url"]
        self.answer(*call(self.command, server + self.path, headers, self.rfile.read(length)))

    do_POST = do_PUT = do_DELETE = do_GET

    def through(self, middleware, headers):
        (kind, settings), = middleware.items()
        if kind == "forwardAuth":
            return self.forward_auth(settings, headers)
        if kind == "ipAllowList":
            networks = map(ip_network, settings["sourceRange"])
            allowed = any(ip_address(self.client_address[0]) in network for network in networks)
            return None if allowed else (403, (), b"")
        assert kind == "headers"
        removed = {name.lower() for name, value in settings["customRequestHeaders"].items() if value == ""}
        for name in [name for name in headers if name.lower() in removed]:
            del headers[name]
        return None

    def forward_auth(self, settings, headers):
        listed = {name.lower() for name in settings.get("authRequestHeaders", [])}
        asked = {name: value for name, value in headers.items() if not listed or name.lower() in listed}
        assert settings["trustForwardHeader"] is False
        for name in [name for name in asked if name.lower().startswith("x-forwarded-")]:
            del asked[name]
        asked.update({
            "X-Forwarded-Method": self.command,
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Host": self.headers.get("Host", ""),
            "X-Forwarded-Uri": self.path,
            "X-Forwarded-For": self.client_address[0],
        })
        try:
            status, answered, body = call("GET", settings["address"], asked)
        except OSError:
            return 500, (), b""
        if not 200 <= status < 300:
            return status, answered, body
        copied = {name.lower() for name in settings.get("authResponseHeaders", [])}
        for name in [name for name in headers if name.lower() in copied]:
            del headers[name]
        headers.update({name: value for name, value in answered if name.lower() in copied})
        return None

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Traefik).serve_forever()
