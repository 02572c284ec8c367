"""Who wrote this? Vehicles sign with Ed25519, ingest itself with a secret of its own.

A completion on Kafka carries a detached JWS (RFC 7515, appendix F) in the header `jws`, over the event's id, its
tenant and its value: so none of the three can be exchanged. HTTP takes a short-lived JWT by the same key.
"""

from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.api_jws import PyJWS

OWN_KEY_ID = "ingest"
TOKEN_LIFETIME = timedelta(hours=12)
_jws = PyJWS()


class BadSignature(Exception):
    """The signature is missing, malformed, or not by the key it names."""


def to_key_id(tenant: str, vehicle: str) -> str:
    return f"{tenant}/{vehicle}"


def make_key() -> tuple[str, str]:
    """Make a vehicle's key pair; return (private, public) as PEM."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


def _to_signed_bytes(event_id: str, tenant: str, value: bytes) -> bytes:
    return b"\n".join((event_id.encode(), tenant.encode(), value))


def sign(event_id: str, tenant: str, value: bytes, *, key: str, key_id: str) -> bytes:
    """Return the detached JWS for the header `jws`."""
    algorithm = "HS256" if key_id == OWN_KEY_ID else "EdDSA"
    content = _to_signed_bytes(event_id, tenant, value)
    return _jws.encode(content, key, algorithm, {"kid": key_id}, is_payload_detached=True).encode()


def read_claimed_key(jws: bytes) -> str:
    """Return the key id a signature names, unchecked: to look the key up."""
    try:
        return str(_jws.get_unverified_header(jws)["kid"])
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadSignature(f"the jws header is malformed: {error}") from error


def verify(jws: bytes, event_id: str, tenant: str, value: bytes, *, key: str, key_id: str) -> None:
    """Raise BadSignature unless the key signed exactly this. The algorithm follows from the key, never from the JWS."""
    algorithm = "HS256" if key_id == OWN_KEY_ID else "EdDSA"
    content = _to_signed_bytes(event_id, tenant, value)
    try:
        if _jws.decode(jws, key, [algorithm], detached_payload=content) != content:
            raise BadSignature("the signature covers a payload of its own: sign detached (RFC 7515, appendix F)")
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise BadSignature(f"the signature is not by {key_id} over this event: {error}") from error


def make_token(tenant: str, vehicle: str, private_key: str, now: datetime) -> str:
    """Make the bearer token a vehicle shows over HTTP."""
    claims = {"sub": vehicle, "iss": tenant, "iat": now, "exp": now + TOKEN_LIFETIME, "aud": "roadloop"}
    return jwt.encode(claims, private_key, "EdDSA", {"kid": to_key_id(tenant, vehicle)})


def check_token(token: str, public_key: str, tenant: str, vehicle: str) -> dict[str, Any]:
    """Raise BadSignature unless the token is by this key, for this vehicle, and not expired or older than a day."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            public_key,
            ["EdDSA"],
            audience="roadloop",
            issuer=tenant,
            subject=vehicle,
            options={"require": ["exp", "iat", "sub"]},
        )
        lifetime_s = int(claims["exp"]) - int(claims["iat"])
    except (jwt.PyJWTError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadSignature(f"the token is refused: {error}") from error
    if lifetime_s > 2 * TOKEN_LIFETIME.total_seconds():
        raise BadSignature("the token lives longer than a day: make a new one")
    return claims
