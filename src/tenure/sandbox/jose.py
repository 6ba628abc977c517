"""Keys and tokens made byte by byte, so that a wrong one can be made as easily as a right one.

token({"sub": "user_1"}, {"kid": "k"}, algorithm="RS256", material=opened(new_pem()))
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

Algorithm = Literal["ES256", "RS256", "HS256"]
Wrong = Literal["stranger", "none", "hs256_with_public_pem"]
Private = RSAPrivateKey | EllipticCurvePrivateKey
Material = Private | bytes  # what a token is signed with; bytes are a shared secret
ALG_OF = {"none": "none", "hs256_with_public_pem": "HS256"}


def new_pem(algorithm: Algorithm = "RS256") -> str:
    """Make a private key."""
    raw = _fresh(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return raw.decode()


@cache
def shared_pem(_whose: str) -> str:
    """Make one private key per process and provider, for sandboxes that nobody else can reach."""
    return new_pem()


@cache
def opened(pem: str) -> Private:
    """Open a private key."""
    return cast("Private", load_pem_private_key(pem.encode(), None))


def public_pem(material: Material) -> str:
    """Write the public half as PEM; nothing for a shared secret."""
    if isinstance(material, bytes):
        return ""
    spki = PublicFormat.SubjectPublicKeyInfo
    return material.public_key().public_bytes(Encoding.PEM, spki).decode()


def checker(material: Material) -> Any:  # noqa: ANN401 (whatever PyJWT wants for the algorithm)
    """Find what signatures are checked with."""
    return material if isinstance(material, bytes) else material.public_key()


def public_numbers(material: Material, algorithm: Algorithm) -> dict[str, Any]:
    """Write the public half as a member of a key set, as bare as it gets."""
    return jwt.get_algorithm_by_name(algorithm).to_jwk(checker(material), as_dict=True)


def token(
    claims: Mapping[str, Any],
    header: Mapping[str, Any],
    *,
    algorithm: Algorithm,
    material: Material,
    wrong: Wrong | None = None,
) -> str:
    """Sign a token, rightly or wrongly; the header may say another `alg` than is true."""
    alg = ALG_OF.get(wrong or "", algorithm)
    body = f"{b64(json.dumps({'alg': alg, **header}))}.{b64(json.dumps(dict(claims)))}".encode()
    return f"{body.decode()}.{b64(_signature(body, algorithm, material, wrong))}"


def b64(data: str | bytes) -> str:
    """Write bytes as the parts of a token are written."""
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _signature(body: bytes, algorithm: Algorithm, material: Material, wrong: Wrong | None) -> bytes:
    if wrong == "none":
        return b""
    if wrong == "hs256_with_public_pem":
        return hmac.new(public_pem(material).encode(), body, hashlib.sha256).digest()
    signer: Any = _stranger(algorithm) if wrong == "stranger" else material
    return jwt.get_algorithm_by_name(algorithm).sign(body, signer)


def _fresh(algorithm: Algorithm) -> Private:
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _stranger(algorithm: Algorithm) -> Material:
    """Make a key that nobody publishes, once per process."""
    return b"somebody else's secret, long enough" if algorithm == "HS256" else _fresh(algorithm)
