"""A License Client in a container's network, called from the addresses in it.

Runs in a network namespace of its own, which stands for the container host: `unshare --net python3
container.py PROGRAM DIRECTORY TRUSTED_NETWORKS`. The License Client runs in a second namespace,
whose default gateway is the host. Prints, as JSON, which callers may make changes, what the log says
about the networks, and what `license-client doctor` finds.
"""

import http.client
import json
import os
import subprocess
import sys
import time

PROGRAM, DIRECTORY, TRUSTED_NETWORKS = sys.argv[1:]
PORT = 8010
TOKEN = "a-token-of-a-good-length"
# The container's address, its gateway's, and a sibling's; the gateway of a VPN behind it.
CONTAINER, GATEWAY, SIBLING, VPN = "10.89.0.2", "10.89.0.1", "10.89.0.7", "10.89.0.9"
CONTAINER_6, GATEWAY_6, SIBLING_6 = "fd89::2", "fd89::1", "fd89::7"

IN_CONTAINER = f"""
read -r _
ip link set lo up
ip address add {CONTAINER}/24 dev eth0
ip address add {CONTAINER_6}/64 dev eth0 nodad
ip link set eth0 up
ip route add default via {GATEWAY}
ip route add 192.0.2.0/24 via {VPN}
ip -6 route add default via {GATEWAY_6}
exec "$0" serve
"""


def run(command):
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def call(host, source, token=None):
    """The status of a change from this address."""
    connection = http.client.HTTPConnection(host, PORT, timeout=10, source_address=(source, 0))
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = "Bearer " + token
    body = json.dumps({"source": "recorder", "cameras": 1})
    connection.request("PUT", "/api/license/usage", body, headers)
    return connection.getresponse().status


def call_inside(pid, host, source):
    """The same from a program in the container."""
    script = f"import container; print(container.call({host!r}, {source!r}))"
    inside = ["nsenter", "-t", str(pid), "-n", sys.executable, "-c", script, *sys.argv[1:]]
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return int(subprocess.run(inside, check=True, capture_output=True, env=environment).stdout)


def until(holds):
    for _ in range(1500):
        if holds():
            return
        time.sleep(0.02)
    raise TimeoutError(open(DIRECTORY + "/log").read())


def is_up():
    try:
        connection = http.client.HTTPConnection(CONTAINER, PORT, timeout=1)
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except OSError:
        return False


def main():
    environment = {
        "PATH": os.environ["PATH"],
        "STATE_DIR": DIRECTORY + "/state",
        "HOST": "::",
        "PORT": str(PORT),
        "TRUSTED_NETWORKS": TRUSTED_NETWORKS,
        "ADMIN_TOKEN": TOKEN,
    }
    log = open(DIRECTORY + "/log", "w")
    command = ["unshare", "--net", "sh", "-c", IN_CONTAINER, PROGRAM]
    service = subprocess.Popen(
        command, cwd=DIRECTORY, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
    )
    try:
        own = os.readlink("/proc/self/ns/net")
        until(lambda: os.readlink(f"/proc/{service.pid}/ns/net") != own)
        run(f"ip link add veth0 type veth peer name eth0 netns {service.pid}")
        for address in [f"{GATEWAY}/24", f"{SIBLING}/24", f"{VPN}/24"]:
            run(f"ip address add {address} dev veth0")
        for address in [f"{GATEWAY_6}/64", f"{SIBLING_6}/64"]:
            run(f"ip address add {address} dev veth0 nodad")
        run("ip link set veth0 up")
        service.stdin.write(b"\n")
        service.stdin.flush()
        until(is_up)
        doctor = ["nsenter", "-t", str(service.pid), "-n", PROGRAM, "doctor", "--json"]
        findings = subprocess.run(
            doctor, cwd=DIRECTORY, env=environment, capture_output=True, text=True
        )
        print(
            json.dumps(
                {
                    "gateway": call(CONTAINER, GATEWAY),
                    "gateway by IPv6": call(CONTAINER_6, GATEWAY_6),
                    "gateway with the token": call(CONTAINER, GATEWAY, TOKEN),
                    "another router": call(CONTAINER, VPN),
                    "sibling": call(CONTAINER, SIBLING),
                    "sibling by IPv6": call(CONTAINER_6, SIBLING_6),
                    "the container's own address": call_inside(service.pid, CONTAINER, CONTAINER),
                    "loopback": call_inside(service.pid, "127.0.0.1", "127.0.0.1"),
                    "log": open(DIRECTORY + "/log").read(),
                    "doctor": json.loads(findings.stdout),
                }
            )
        )
    finally:
        service.terminate()
        service.wait()


if __name__ == "__main__":
    main()
