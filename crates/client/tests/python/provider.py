"""Answers commands about the example's OpenFeature provider, one line for each.

    provider.py LICENSE_CLIENT_URL [OPTIONS as JSON]

    check FEATURE      its value, and the reason or the error
    shutdown, initialize
    fork               makes a child that answers as well
    child COMMAND      asks the child
    clock SECONDS      moves the clock that counts, for as long as the process lives
    wall               the wall clock's year
    error              why there is no contact
    threads            how many follow
    sockets            how many are open
    until FEATURE      waits until it is unavailable
"""

import asyncio
import json
import os
import sys
import threading
import time

import license_gate
from license_provider import LicenseProvider
from openfeature import api

options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
provider = LicenseProvider(sys.argv[1], **options)
api.set_provider_and_wait(provider)
client = api.get_client()
ahead, real_clock = 0.0, None
child = None


def move_clock(seconds):
    global ahead, real_clock
    real_clock = real_clock or license_gate.boot_clock
    ahead += float(seconds)
    license_gate.boot_clock = lambda: real_clock() + ahead


def fork():
    global child
    commands, answers = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(commands[1])
        os.close(answers[0])
        child = None
        serve(os.fdopen(commands[0]), os.fdopen(answers[1], "w"))
        os._exit(0)
    os.close(commands[0])
    os.close(answers[1])
    child = os.fdopen(commands[1], "w"), os.fdopen(answers[0])


def answer(command, argument):
    if command == "check":
        details = client.get_boolean_details(argument, False)
        return details.value, details.flag_metadata.get("reason") or details.error_code.value
    if command == "child":
        print(argument, file=child[0], flush=True)
        return (child[1].readline().strip(),)
    if command == "error":
        return (provider.gate.last_error,)
    if command == "threads":
        return (sum(thread.name.startswith("license") for thread in threading.enumerate()),)
    if command == "sockets":
        links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
        return (sum(os.path.islink(link) and "socket" in os.readlink(link) for link in links),)
    if command == "until":
        decision = asyncio.run(asyncio.wait_for(provider.gate.until_unavailable(argument), 10))
        return (decision.reason,)
    if command == "wall":
        return (time.gmtime().tm_year,)
    {
        "shutdown": provider.shutdown,
        "initialize": lambda: provider.initialize(None),
        "fork": fork,
        "clock": lambda: move_clock(argument),
    }[command]()
    return ("done",)


def serve(commands, answers):
    for line in commands:
        command, _, argument = line.strip().partition(" ")
        print(*answer(command, argument), file=answers, flush=True)


serve(sys.stdin, sys.stdout)
