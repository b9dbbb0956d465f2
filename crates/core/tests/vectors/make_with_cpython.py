"""Writes fromisoformat.txt with CPython 3.11: python3.11 make_with_cpython.py > fromisoformat.txt"""

import random
import sys
from datetime import date, datetime, timedelta, timezone

assert sys.version_info[:2] == (3, 11), "the spellings are those of CPython 3.11"
sys.stdout.reconfigure(encoding="utf-8", newline="\n")
rng = random.Random(11)

dates = ["2027-12-31", "20271231", "2028-02-29", "2027-02-29", "0001-01-01", "9999-12-31", "0000-01-01",
         "2027-W52", "2027W52", "2027-W52-5", "2027W525", "2026-W53-7", "2026W537", "2027-W53-1", "2027-W00-1",
         "2027-W01-0", "2027-W01-8", "2027W01-1", "2027-W011", "2027-1231", "202712-31", "2027-13-01", "2027-00-10",
         "27-12-31", "2027-12-3", "2027-1-31", "+2027-12-31", "2027-365", "2027365", "2027-12", "2027/12/31",
         "31.12.2027", "2020-W10-1", "1969-12-31"]
separators = ["T", " ", "t", "_", "-", "0", "5", "\u00e4", "\u2009", "\U0001f600", "", "  ", "W", "Z", ":"]
times = ["", "12", "12:30", "1230", "12:30:45", "123045", "12:30:45.1", "12:30:45,123456", "123045.123",
         "12:30:45.1234567", "12:30:45.123456789", "12:30.5", "12.5", "1", "123", "12:3", "12:30:4", "12:30:", "12:",
         "24:00", "24:00:00", "23:59:60", "12:60", "25", "12:3045", "1230:45", "12:30:45:123", "123045123", "12:30:45.",
         "12:30:45.x", "12:30:45.12x", "12:30:45.1234567x", "12:30 45", "00:00:00", "23:59:59.999999", " 12:30"]
zones = ["", "Z", "z", "+00:00", "+0000", "+00", "-00:00", "+01:00", "+0130", "-08", "-08:30:15", "+083015",
         "+08:30:15.5", "+083015.123456", "+24:00", "+23:59:59.999999", "-23:59", "+00:99", "+1", "+123", "+", "-",
         "Z+00:00", "ZZ", "+00:00Z", " +00:00", "UTC", " UTC", "+01:00:", "+1:00", "+01:0"]


def mutated(text):
    at = rng.randrange(len(text) + 1)
    change = rng.randrange(3)
    if change == 0 and text:
        return text[:at] + text[at + 1:]
    if change == 1:
        return text[:at] + rng.choice("0123456789-:.,TWZ+ x") + text[at:]
    return text[:at] + rng.choice("0123456789-:.,TWZ+ x") + text[at + 1:]


spellings = set()
for day in dates:
    for separator in separators:
        spellings.add(day + separator + rng.choice(times) + rng.choice(zones))
    spellings.add(day)
    spellings.add(day + "T")
for time in times:
    for zone in zones:
        spellings.add("2027-12-31" + rng.choice("T ") + time + zone)
        if rng.random() < 0.3:
            spellings.add("2027W525T" + time + zone)
for spelling in sorted(spellings):
    if rng.random() < 0.6:
        spellings.add(mutated(spelling))
        spellings.add(mutated(mutated(spelling)))

epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
for spelling in sorted(spellings):
    if any(c in spelling for c in "\t\n\r"):
        continue
    try:
        moment = datetime.fromisoformat(spelling)
    except ValueError:
        print(f"{spelling}\t-")
        continue
    offset = moment.utcoffset() or timedelta()
    micros = (moment.replace(tzinfo=timezone.utc) - epoch - offset) // timedelta(microseconds=1)
    try:
        is_date = bool(date.fromisoformat(spelling))
    except ValueError:
        is_date = False
    print(f"{spelling}\t{'date ' if is_date else ''}{micros}")
