#!/usr/bin/python3
"""Verifies the signed documents of the License Server: licenses, denials, releases and key sets.

    verify_license.py KEYS.json [license|denial|release|keyset] < document
    verify_license.py KEYS.json 2027-05-01T00:00:00Z < license
    verify_license.py --vectors vectors.json

KEYS.json is the trusted JWK Set. With a time, the script prints what the license grants at that
time. The script verifies the document itself. It does not check whether
the document has expired (`exp`), for whom it is, or whether `nonce` and `seq` have the expected
values. Any exception means that the document is refused: need() raises one, and Python raises its
own if the document is malformed.
"""
import base64, datetime, hashlib, json, re, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

CLAIMS = {  # strings and integers; those with "?" may be absent
    "license": ("iss sub jti nonce? installationId hardwareId", "iat nbf validUntil exp seq keySet?"),
    "denial": ("iss sub nonce? installationId hardwareId reason message", "iat seq keySet?"),
    "release": ("iss product version", "iat released"),
    "keyset": ("iss", "iat version")}
PRODUCT = "foxsight-central-command"
RFC3339 = r"(?a)\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:[0-5]\d)"
P = 2**255 - 19  # Ed25519's curve is -x² + y² = 1 + D·x²·y² modulo P
D = -121665 * pow(121666, -1, P)


def need(condition, reason):
    if not condition:
        raise ValueError(reason)


def check(value, texts, wholes):
    for kind, names in (str, texts), (int, wholes):
        for name in names.split():
            absent = kind() if name.endswith("?") else None  # and type(), as True is an instance of int
            need(type(value.get(name.rstrip("?"), absent)) is kind, f"{name} must be {kind.__name__}")


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text):
    data = base64.urlsafe_b64decode(text + "==")  # lenient, so encoding again must give the same text
    need(encode(data) == text, "not strict base64url")
    return data


def unique(pairs):
    need(len(dict(pairs)) == len(pairs), "duplicate member")
    return dict(pairs)


def parse(data):
    return json.loads(data.decode(), object_pairs_hook=unique, parse_constant=lambda nan: need(False, nan))


def sound(point):
    """A point on the curve, and not of order 1 or 2 (where x = 0), 4 (y = 0) or 8 (x² + y² = 0)."""
    y = int.from_bytes(point, "little") % 2**255  # the bit above is the sign of x
    xx = (y * y - 1) * pow(D * y * y + 1, -1, P) % P  # must be a square and not 0
    return len(point) == 32 and y < P and pow(xx, P // 2, P) == 1 and y * (xx + y * y) % P != 0


def trust(key_set, revoked):
    """The keys of the set by id, without revoked ones."""
    need(type(key_set["keys"]) is list and len(key_set["keys"]) <= 64, "keys is not a list, or is too long")
    need(type(revoked) is list and all(type(kid) is str for kid in revoked), "revoked is not a list of ids")
    trusted = {}
    for key in key_set["keys"]:
        need("d" not in key, "the set contains a private key")
        if (key.get("kty"), key.get("crv"), key.get("use", "sig")) == ("OKP", "Ed25519", "sig"):
            check(key, "x kid?", "nbf? exp?")
            need(sound(decode(key["x"])), "the key is not a sound point")
            thumbprint = hashlib.sha256(b'{"crv":"Ed25519","kty":"OKP","x":"%s"}' % key["x"].encode())
            kid = key.get("kid", encode(thumbprint.digest()))
            need(kid not in trusted, "two keys have the same id")
            trusted[kid] = key
    need(trusted.keys() - revoked, "no key is left")
    return {kid: key for kid, key in trusted.items() if kid not in revoked}


def split(document):
    need(len(document) <= 65536 and document.count(".") == 2, "too long, or not three parts")
    return map(decode, document.split("."))


def verify(trusted, kind, document):
    """The payload of a document signed by one of the trusted keys."""
    header, payload, signature = split(document)
    header = parse(header)
    need(header.get("typ") == f"foxsight-{kind}+jwt" and "crit" not in header, f"not a {kind}, or has crit")
    need(header.get("alg") in ("EdDSA", "Ed25519"), "unexpected algorithm")
    need(header.get("kid") in trusted, "not signed by a trusted key")
    key, signed = trusted[header["kid"]], document.rpartition(".")[0].encode()
    need(sound(signature[:32]), "the signature's R is not a sound point")  # OpenSSL checks the rest of RFC 8032, 5.1.7
    Ed25519PublicKey.from_public_bytes(decode(key["x"])).verify(signature, signed)
    payload = parse(payload)
    check(payload, *CLAIMS[kind])
    iat = payload["iat"]
    need(payload.get("seq", 0) >= 0, "seq is below zero")
    need(key.get("nbf", iat) <= iat <= key.get("exp", iat), "the key was not in use at iat")
    if kind == "license":
        need(iat <= payload["validUntil"] <= payload["exp"], "the times are out of order")
        need(type(payload.get("offline", True)) is bool, "offline is not true or false")
        need(payload.get("question") in (None, "activate", "validate", "trial"), "it answers a call that grants no lease")
        code_hash = payload.get("codeHash")  # of the code in the request that this answers, if there was one
        need(code_hash is None or type(code_hash) is str, "codeHash is not a text")
        holder = payload.get("cnf") or {}
        need(type(holder) is dict, "cnf is not an object")
        bound = holder.get("jkt")  # the thumbprint of the installation key that the lease is bound to
        need(bound is None or type(bound) is str and len(decode(bound)) == 32, "jkt is not a thumbprint")
        check(payload["license"], "licenseKey", "")
        expires = payload["license"].get("expiresAt")
        if expires is not None:
            need(re.fullmatch(RFC3339, expires), "expiresAt is not RFC 3339")
            datetime.datetime.fromisoformat(expires.upper())  # fails for a 13th month
    if kind == "release":
        need(payload["product"] == PRODUCT, "the release of another product")
        need(re.fullmatch(r"(?a)\d[\w.+-]{0,63}", payload["version"]), "not a version")
        need(payload["released"] <= iat, "released after it was signed")
        need(type(payload.get("exempt", True)) is bool, "exempt is not true or false")
    return payload


def entitlement(entry):
    """The key, the quantity (None for a feature) and the period of an entry; None if it is unreadable."""
    if type(entry) is not dict or not is_key(entry.get("key")):
        return None
    quantity, from_, until = (entry.get(name) for name in ("quantity", "from", "until"))
    is_quantity = quantity in (None, "unlimited") or type(quantity) is int and 0 <= quantity < 2**64
    times = [time for time in (from_, until) if time is not None]
    if not is_quantity or not all(type(it) is str and re.fullmatch(RFC3339, it) for it in times):
        return (entry["key"], 0, None, None) if quantity is not None else None
    from_, until = (instant(time) if time else None for time in (from_, until))
    if from_ and until and until < from_:
        return (entry["key"], 0, None, None) if quantity is not None else None
    if until and not until.microsecond:  # an end in whole seconds includes its second
        until += datetime.timedelta(microseconds=999_999)
    return entry["key"], quantity, from_, until


def is_key(text):
    return type(text) is str and 0 < len(text) <= 100 and "\0" not in text


def instant(text):
    return datetime.datetime.fromisoformat(text.upper())


def granted(license, at):
    """The features and the limits (None is unlimited) that a license grants at an instant."""
    features, limits = set(), {}
    for name, field in ("cameras", "maxCameras"), ("users", "maxUsers"), ("storage_gb", "maxStorageGb"):
        limit = license.get(field)
        limits[name] = limit if type(limit) is int and limit >= 0 else None
    entries = license.get("entitlements")
    if type(entries) is not list:
        enabled = license.get("enabledFeatures")
        features |= {key for key in (enabled if type(enabled) is list else []) if is_key(key)}
        entries = []
    read = [entry for entry in map(entitlement, entries[:10_000]) if entry]
    limits |= {key: 0 for key, quantity, *_ in read if quantity is not None}
    for key, quantity, from_, until in read:
        if (from_ is None or from_ <= at) and (until is None or at <= until):
            if quantity is None:
                features.add(key)
            elif limits[key] is not None:
                limits[key] = None if quantity == "unlimited" else limits[key] + quantity
    return {"features": sorted(features), "limits": limits}


def walk(key_set, chain=()):
    """The keys that are trusted at the end of a chain of key sets."""
    check(key_set, "", "version?")
    version, revoked = key_set.get("version", 1), key_set.get("revoked", [])
    trusted = trust(key_set, revoked)
    for document in chain:
        _, unverified, _ = split(document)
        claimed = parse(unverified).get("version")
        if type(claimed) is not int or claimed > version:  # older sets are skipped
            payload = verify(trusted, "keyset", document)
            version, revoked = payload["version"], revoked + payload.get("revoked", [])
            trusted = trust(payload, revoked)
    return trusted


# The command line

def is_right(case):
    if "license" in case:
        return granted(case["license"], instant(case["at"])) == {name: case[name] for name in ("features", "limits")}
    return accepted(case) == (case["expect"] == "ok")


def accepted(case):
    try:
        if case["kind"] == "keyset":
            walk(case["keys"], case["documents"])
        else:
            verify(walk(case["keys"]), case["kind"], case["documents"][-1])
        return True
    except Exception:
        return False


def main(first="", second="license"):
    if first == "--vectors":
        with open(second, encoding="utf-8") as file:
            cases = json.load(file)
        wrong = [case["name"] for case in cases if not is_right(case)]
        right = len(cases) - len(wrong)
        print(f"{right} of {len(cases)} vectors have the expected result", *wrong, sep="\n")
        return 1 if wrong else 0
    try:
        at = instant(second) if re.fullmatch(RFC3339, second) else None
        second = "license" if at else second
        need(second in CLAIMS, "expected license, denial, release, keyset, or a time such as 2027-05-01T00:00:00Z")
        with open(first, "rb") as file:
            keys = parse(file.read())
        document = sys.stdin.read().removesuffix("\n")  # the newline that ends a text file
        payload = verify(walk(keys), second, document)
        if second == "keyset":
            trust(payload, [])
            walk(keys, [document])  # it must follow the set in KEYS.json, or be older
        payload = granted(payload["license"], at) if at else payload
    except Exception as error:
        return f"refused: {error!r}"
    print(json.dumps(payload, indent=2))
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1:] == ["--vectors"]:
        sys.exit("usage: verify_license.py KEYS.json [license|denial|release|keyset|TIME] < document, or --vectors FILE")
    sys.exit(main(*sys.argv[1:]))
