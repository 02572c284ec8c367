"""Every forgery is refused: another key, another algorithm, another tenant, another value."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jwt.utils import base64url_encode

from ingest.reasons import UploadReason
from ingest.sender import Known, check_sender
from ingest.signature import (
    OWN_KEY_ID,
    TOKEN_LIFETIME,
    BadSignature,
    check_token,
    make_key,
    make_token,
    read_claimed_key,
    sign,
    to_key_id,
    verify,
)
from roadloop_runtime.dead_letter import to_dead_letter
from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import DeadLetter
from roadloop_schemas.uploads import UploadCompleted
from tests.builders import receive

NOW = datetime.now(UTC)
PRIVATE, PUBLIC = make_key()
OTHER_PRIVATE, OTHER_PUBLIC = make_key()
OWN_KEY = "s" * 32
CAR = to_key_id("acme", "car-1")
VALUE = json.dumps(
    {
        "upload_id": "up-1",
        "vehicle": "car-1",
        "drive": "d-1",
        "completed_at": "2026-03-02T08:00:00Z",
        "files": [
            {
                "object": {"uri": "s3://uploads/acme/car-1/1.jpg", "sha256": "0" * 64, "size_bytes": 1},
                "captured_at": "2026-03-02T08:00:00Z",
                "media_type": "image/jpeg",
            }
        ],
    }
).encode()
KNOWN = Known(public_key=PUBLIC, revoked=False, admitted=False, accepted_sha256=frozenset())


def forged(header: dict[str, Any], signature: bytes = b"") -> bytes:
    """Return a detached JWS with any header."""
    return base64url_encode(json.dumps(header).encode()) + b".." + base64url_encode(signature)


def confused() -> bytes:
    """Return a signature made with the vehicle's public key as if it were a shared secret."""
    header = base64url_encode(json.dumps({"alg": "HS256", "kid": CAR, "b64": False, "crit": ["b64"]}).encode())
    signed = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    content = b"\n".join((b"e-1", b"acme", VALUE))
    return header + b".." + base64url_encode(signed.sign(header + b"." + content, PUBLIC.encode()))


def tampered(jws: bytes) -> bytes:
    return jws[:-8] + (b"AAAAAAAA" if jws[-8:] != b"AAAAAAAA" else b"BBBBBBBB")


GOOD = sign("e-1", "acme", VALUE, key=PRIVATE, key_id=CAR)


def test_a_good_signature_passes() -> None:
    verify(GOOD, "e-1", "acme", VALUE, key=PUBLIC, key_id=CAR)
    own = sign("e-1", "acme", VALUE, key=OWN_KEY, key_id=OWN_KEY_ID)
    verify(own, "e-1", "acme", VALUE, key=OWN_KEY, key_id=OWN_KEY_ID)


@pytest.mark.parametrize(
    ("jws", "event_id", "tenant", "value"),
    [
        pytest.param(GOOD, "e-2", "acme", VALUE, id="moved-to-another-event"),
        pytest.param(GOOD, "e-1", "other", VALUE, id="moved-to-another-tenant"),
        pytest.param(GOOD, "e-1", "acme", VALUE + b" ", id="value-changed"),
        pytest.param(GOOD, "e-1\nacme", "", VALUE, id="fields-shifted"),
        pytest.param(tampered(GOOD), "e-1", "acme", VALUE, id="signature-changed"),
        pytest.param(
            sign("e-1", "acme", VALUE, key=OTHER_PRIVATE, key_id=CAR), "e-1", "acme", VALUE, id="by-another-key"
        ),
        pytest.param(confused(), "e-1", "acme", VALUE, id="public-key-used-as-a-secret"),
        pytest.param(
            sign("e-1", "acme", VALUE, key=OWN_KEY, key_id=OWN_KEY_ID), "e-1", "acme", VALUE, id="by-another-algorithm"
        ),
        pytest.param(forged({"alg": "none", "kid": CAR}), "e-1", "acme", VALUE, id="no-algorithm"),
        pytest.param(forged({"kid": CAR}), "e-1", "acme", VALUE, id="algorithm-left-out"),
        pytest.param(
            make_token("acme", "car-1", PRIVATE, NOW).encode(), "e-1", "acme", VALUE, id="a-bearer-token-as-signature"
        ),
        pytest.param(b"", "e-1", "acme", VALUE, id="nothing"),
        pytest.param(b"\xff\x00.", "e-1", "acme", VALUE, id="noise"),
    ],
)
def test_a_forgery_is_refused(jws: bytes, event_id: str, tenant: str, value: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(jws, event_id, tenant, value, key=PUBLIC, key_id=CAR)


def test_a_vehicles_signature_is_not_ours() -> None:
    with pytest.raises(BadSignature):
        verify(GOOD, "e-1", "acme", VALUE, key=OWN_KEY, key_id=OWN_KEY_ID)


@pytest.mark.parametrize(
    "jws",
    [
        pytest.param(b"", id="empty"),
        pytest.param(forged({"alg": "EdDSA"}), id="no-key-named"),
        pytest.param(forged({"alg": "EdDSA", "kid": 7}), id="key-is-a-number"),
        pytest.param(base64url_encode(b"[]") + b"..", id="header-is-a-list"),
        pytest.param(base64url_encode(b"[" * 50_000) + b"..", id="header-without-a-bottom"),
    ],
)
def test_a_malformed_signature_names_nobody(jws: bytes) -> None:
    with pytest.raises(BadSignature):
        read_claimed_key(jws)


def upload(jws: bytes | None, *, tenant: str = "acme", event_id: str = "e-1") -> Received[UploadCompleted]:
    headers = () if jws is None else (("jws", jws),)
    body = UploadCompleted.model_validate_json(VALUE)
    return receive(body, id=event_id, tenant=tenant, value=VALUE, more_headers=headers)


OWN = sign("e-1", "acme", VALUE, key=OWN_KEY, key_id=OWN_KEY_ID)
BY_ANOTHER = sign("e-1", "acme", VALUE, key=OTHER_PRIVATE, key_id=to_key_id("acme", "car-2"))


@pytest.mark.parametrize(
    ("jws", "known", "reason"),
    [
        pytest.param(GOOD, KNOWN, None, id="the-vehicle-itself"),
        pytest.param(OWN, KNOWN, None, id="ingest-for-the-vehicle"),
        pytest.param(GOOD, replace(KNOWN, owner="car-1"), None, id="an-upload-it-announced"),
        pytest.param(GOOD, replace(KNOWN, owner="car-2"), UploadReason.FOREIGN_VEHICLE, id="an-upload-of-another"),
        pytest.param(None, KNOWN, UploadReason.UNSIGNED, id="no-signature"),
        pytest.param(b"", KNOWN, UploadReason.UNSIGNED, id="empty-signature"),
        pytest.param(b"noise", KNOWN, UploadReason.WRONG_SIGNATURE, id="noise-for-a-signature"),
        pytest.param(tampered(GOOD), KNOWN, UploadReason.WRONG_SIGNATURE, id="signature-changed"),
        pytest.param(BY_ANOTHER, KNOWN, UploadReason.FOREIGN_VEHICLE, id="another-vehicle"),
        pytest.param(
            forged({"alg": "HS256", "kid": OWN_KEY_ID}),
            KNOWN,
            UploadReason.WRONG_SIGNATURE,
            id="somebody-who-claims-to-be-ingest",
        ),
        pytest.param(
            GOOD, replace(KNOWN, public_key=None), UploadReason.UNKNOWN_VEHICLE, id="a-vehicle-that-is-not-enrolled"
        ),
        pytest.param(GOOD, replace(KNOWN, revoked=True), UploadReason.REVOKED_VEHICLE, id="a-revoked-vehicle"),
        pytest.param(OWN, replace(KNOWN, revoked=True), UploadReason.REVOKED_VEHICLE, id="revoked-after-it-completed"),
    ],
)
def test_who_may_complete_an_upload(jws: bytes | None, known: Known, reason: UploadReason | None) -> None:
    refused = check_sender(upload(jws), known, OWN_KEY)
    assert (refused.reason if refused else None) == reason
    assert refused is None or (refused.field, bool(refused.rule), bool(refused.remedy)) == ("jws", True, True)


def test_a_signature_of_one_tenant_is_foreign_in_another() -> None:
    refused = check_sender(upload(GOOD, tenant="other"), KNOWN, OWN_KEY)
    assert refused is not None
    assert refused.reason is UploadReason.FOREIGN_VEHICLE


headers = st.dictionaries(
    st.sampled_from(["alg", "kid", "b64", "crit", "typ", "x"]),
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200) | headers.map(forged) | st.binary(max_size=80).map(lambda b: base64url_encode(b) + b"..")
)
@example(base64url_encode(b'{"alg":"EdDSA","kid":"\\ud800"}') + b"..AA")
@example(base64url_encode(b'{"alg":"EdDSA","kid":"a\\u0000b"}') + b"..AA")
@example(base64url_encode(b"[" * 50_000) + b"..AA")
@example(forged({"alg": "EdDSA", "kid": CAR, "b64": False, "crit": ["b64"]}))
def test_no_signature_breaks_the_check_or_its_dead_letter(jws: bytes) -> None:
    received = upload(jws)
    refused = check_sender(received, KNOWN, OWN_KEY)
    assert isinstance(refused, DeadLetter)
    to_dead_letter("ingest", received.record, refused)


def test_a_good_token_passes() -> None:
    claims = check_token(make_token("acme", "car-1", PRIVATE, NOW), PUBLIC, "acme", "car-1")
    assert (claims["iss"], claims["sub"]) == ("acme", "car-1")


CLAIMS = {
    "sub": "car-1",
    "iss": "acme",
    "aud": "roadloop",
    "iat": int(NOW.timestamp()),
    "exp": int((NOW + TOKEN_LIFETIME).timestamp()),
}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": int(NOW.timestamp()) - 1}, id="expired"),
        pytest.param({"exp": int((NOW + timedelta(days=2)).timestamp())}, id="good-for-longer-than-a-day"),
        pytest.param({"iat": int((NOW + timedelta(hours=1)).timestamp())}, id="made-in-the-future"),
        pytest.param({"sub": "car-2"}, id="of-another-vehicle"),
        pytest.param({"iss": "other"}, id="of-another-tenant"),
        pytest.param({"aud": "elsewhere"}, id="for-another-system"),
        pytest.param({"exp": None}, id="without-an-end"),
        pytest.param({"iat": None}, id="without-a-start"),
        pytest.param({"exp": float("inf")}, id="for-ever"),
        pytest.param({"exp": []}, id="an-end-that-is-no-number"),
        pytest.param({"iat": "yesterday"}, id="a-start-that-is-no-number"),
    ],
)
def test_a_bad_token_is_refused(changes: dict[str, Any]) -> None:
    key = load_pem_private_key(PRIVATE.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    header = base64url_encode(json.dumps({"alg": "EdDSA", "kid": CAR}).encode())
    signed = header + b"." + base64url_encode(json.dumps(claims).encode())
    token = (signed + b"." + base64url_encode(key.sign(signed))).decode()
    with pytest.raises(BadSignature):
        check_token(token, PUBLIC, "acme", "car-1")


def test_a_token_by_another_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        check_token(make_token("acme", "car-1", OTHER_PRIVATE, NOW), PUBLIC, "acme", "car-1")
