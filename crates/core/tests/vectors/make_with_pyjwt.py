#!/usr/bin/env python3
"""Checks our documents with PyJWT, and makes the same ones with it.

    pip install pyjwt cryptography
    python3 make_with_pyjwt.py

Reads ours_license.jws, ours_denial.jws and ours_keys.json beside this file;
writes pyjwt_license.jws, pyjwt_denial.jws and pyjwt_keys.json.
"""

import base64
import json
import pathlib

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = pathlib.Path(__file__).parent
NO_CLOCK = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}


def read(name):
    return (HERE / name).read_text().strip()


def verify(document, keys):
    header = jwt.get_unverified_header(document)
    key = next(k for k in keys.keys if k.key_id == header["kid"])
    claims = jwt.decode(document, key.key, algorithms=["EdDSA"], options=NO_CLOCK)
    return header, claims


def main():
    keys = jwt.PyJWKSet.from_json(read("ours_keys.json"))
    secret = Ed25519PrivateKey.from_private_bytes(bytes([43]) * 32)
    raw = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    public = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "pyjwt", "use": "sig"}
    (HERE / "pyjwt_keys.json").write_text(json.dumps({"keys": [public]}) + "\n")
    for kind in ["license", "denial"]:
        header, claims = verify(read(f"ours_{kind}.jws"), keys)
        print(f"ours_{kind}.jws: verified by PyJWT {jwt.__version__}, seq {claims['seq']}")
        made = jwt.encode(claims, secret, "EdDSA", {"typ": header["typ"], "kid": "pyjwt"})
        (HERE / f"pyjwt_{kind}.jws").write_text(made + "\n")
        print(f"pyjwt_{kind}.jws: signed by PyJWT")
    broken = read("ours_license.jws")[:-6] + "AAAAAA"
    try:
        verify(broken, keys)
    except jwt.InvalidSignatureError:
        print("a broken signature: refused by PyJWT")


if __name__ == "__main__":
    main()
