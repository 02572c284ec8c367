"""Is this event by the vehicle it speaks of? Pure."""

from dataclasses import dataclass

from ingest.reasons import UploadReason
from ingest.signature import OWN_KEY_ID, BadSignature, read_claimed_key, to_key_id, verify
from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import DeadLetter
from roadloop_schemas.uploads import UploadCompleted


@dataclass(frozen=True, slots=True)
class Known:
    """What the tables say of an upload: the vehicle's key, whose upload it is, which pictures were accepted before."""

    public_key: str | None
    revoked: bool
    admitted: bool
    accepted_sha256: frozenset[str]
    owner: str | None = None


def check_sender(upload: Received[UploadCompleted], known: Known, own_key: str) -> DeadLetter | None:
    """Say why this event is not by the vehicle it speaks of, or not on an upload of its own, if so."""
    vehicle = upload.body.vehicle
    jws = dict(upload.record.headers).get("jws")
    if not jws:
        return refuse(UploadReason.UNSIGNED, "the header jws is missing", "sign the event with the vehicle's key")
    try:
        dead_letter = _check_signature(jws, upload, known, own_key)
    except BadSignature as error:
        return refuse(UploadReason.WRONG_SIGNATURE, str(error), "sign id, tenant and value exactly as they are sent")
    if dead_letter is None and known.owner not in (None, vehicle):
        detail = f"upload {upload.body.upload_id} is another vehicle's, not {vehicle}'s"
        return refuse(UploadReason.FOREIGN_VEHICLE, detail, "choose another upload_id: it is unique in a tenant")
    return dead_letter


def _check_signature(jws: bytes, upload: Received[UploadCompleted], known: Known, own_key: str) -> DeadLetter | None:
    """Say whose signature is missing. Raises BadSignature."""
    tenant, vehicle = upload.envelope.tenant, upload.body.vehicle
    signer = read_claimed_key(jws)
    if signer not in (OWN_KEY_ID, to_key_id(tenant, vehicle)):
        detail = f"signed by {signer[:200]!a}, but it speaks of {to_key_id(tenant, vehicle)}"
        return refuse(UploadReason.FOREIGN_VEHICLE, detail, "a vehicle completes its own uploads only")
    if known.public_key is None:
        return refuse_unknown_vehicle(tenant, vehicle)
    if known.revoked:
        detail = f"the key of {to_key_id(tenant, vehicle)} was revoked"
        return refuse(UploadReason.REVOKED_VEHICLE, detail, "enrol it anew")
    key = own_key if signer == OWN_KEY_ID else known.public_key
    verify(jws, upload.envelope.id, tenant, upload.record.value or b"", key=key, key_id=signer)
    return None


def refuse_unknown_vehicle(tenant: str, vehicle: str) -> DeadLetter:
    detail = f"tenant {tenant[:100]!a}, vehicle {vehicle} is not enrolled"
    return refuse(UploadReason.UNKNOWN_VEHICLE, detail, "enrol it: roadloop vehicles enrol")


def refuse(reason: UploadReason, detail: str, remedy: str) -> DeadLetter:
    return DeadLetter(reason, detail, "jws", "an upload is signed by an enrolled vehicle, with its own key", remedy)
