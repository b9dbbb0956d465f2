"""Every request comes from another address, as if through a trusted proxy.

Otherwise the limits of wrong tokens and of unknown keys would answer most requests with 429,
and the check would see no other answer.
"""

import ipaddress
import random

import requests

addresses = random.Random(1)
send = requests.Session.send


def send_from_another_address(session, request, **options):
    address = ipaddress.IPv4Address(addresses.getrandbits(32))
    request.headers["X-Forwarded-For"] = str(address)
    return send(session, request, **options)


requests.Session.send = send_from_another_address
