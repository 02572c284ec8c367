"""Which files of an upload are accepted, and what is announced of them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import immutables
import pytest
from jwt.utils import base64url_encode

from ingest.handle import (
    REMEMBERED,
    Admitted,
    AdmittedFile,
    Memory,
    Observation,
    check_announcement,
    decide,
    observe,
)
from ingest.manifest import Manifest, to_upload_completed
from ingest.measure import Measured, Refused
from ingest.reasons import FileReason, SkipReason, UploadReason
from ingest.sender import Known
from ingest.signature import OWN_KEY_ID, sign
from roadloop_agent import Picture
from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import DeadLetter, Emit, Skip, Transient
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing
from roadloop_schemas.cloudevents import Attributes, from_headers
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.frames import FramesIngested
from roadloop_schemas.uploads import FileFate, UploadCompleted, UploadedFile
from tests.builders import NOW, make_file, make_object, make_upload, receive

ARRIVED = NOW
WRITTEN = datetime(2026, 3, 2, 8, 1, tzinfo=UTC)
OWN_KEY = "s" * 32
KNOWN = Known(public_key="a key", revoked=False, admitted=False, accepted_sha256=frozenset())
MEASURED = Measured(width_px=640, height_px=480, dhash="0" * 16, laplacian_variance=100.0, brightness=0.5)
BROKEN = Refused(FileReason.NOT_A_PICTURE, "neither a JPEG nor a PNG")
PREFIX = "s3://uploads/acme/car-1/"
NOTHING: Memory = immutables.Map()


def sha(number: int) -> str:
    return f"{number:064x}"


def file(number: int, **changes: object) -> UploadedFile:
    object = make_object(f"{number}.jpg", sha256=sha(number), size_bytes=1000)
    return make_file(number, **({"object": object} | changes))


def received(
    files: Sequence[UploadedFile],
    *,
    tenant: str = "acme",
    upload_id: str = "up-1",
    signer: str = OWN_KEY_ID,
    received_at: datetime | None = ARRIVED,
) -> Received[UploadCompleted]:
    body = make_upload(*files, upload_id=upload_id, received_at=received_at)
    value = body.model_dump_json().encode()
    jws = naming(signer)
    if signer == OWN_KEY_ID:
        jws = sign("e-1", tenant, value, key=OWN_KEY, key_id=OWN_KEY_ID)
    return receive(body, source="/somebody", tenant=tenant, written_at=WRITTEN, more_headers=(("jws", jws),))


def naming(signer: str) -> bytes:
    """Return a signature that names a key; who decides reads nothing else of it."""
    return base64url_encode(json.dumps({"alg": "EdDSA", "kid": signer}).encode()) + b"..AA"


def seen(
    numbers: Sequence[int], found: Measured | Refused = MEASURED, known: Known = KNOWN, **upload: object
) -> Observation:
    files = [file(number) for number in numbers]
    return Observation(received(files, **upload), known, tuple(found for _ in files))  # type: ignore[arg-type]


# what a replay has to say again: the first picture's id, and those of the first three units of up-1
FIRST_FRAME = "3dc096ac6b487dc5c16830c771a6afc8"
UNITS = [
    "1ad94429dd200d0506b59bbbb0bf3ccc",
    "e57e5f8d373afb4189a753002050cc15",
    "ef4e9217e02651d01b70a856a18180e0",
]
ACCEPTED = AdmittedFile(0, f"{1:064x}", FileFate.ACCEPTED, frame_id=FIRST_FRAME, unit_id=UNITS[0])


def duplicate(number: int, sha256: str) -> AdmittedFile:
    return AdmittedFile(number, sha256, FileFate.DUPLICATE, "duplicate")


def rejected(number: int, sha256: str, refused: Refused) -> AdmittedFile:
    return AdmittedFile(number, sha256, FileFate.REJECTED, refused.reason.value, refused.detail)


def test_a_picture_that_was_kept_in_the_tables_is_a_duplicate_and_no_unit_is_announced() -> None:
    known = replace(KNOWN, accepted_sha256=frozenset({sha(1)}))
    memory, outcome = decide(NOTHING, seen([1], known=known), None)
    change = Admitted("acme", "up-1", "car-1", "d-1", ARRIVED, (duplicate(0, sha(1)),))
    assert outcome == Emit((), (change,))
    assert set(memory) == {"acme/up-1"}


@pytest.mark.parametrize(
    ("numbers", "found", "memory", "fates"),
    [
        pytest.param([1], MEASURED, NOTHING, [ACCEPTED], id="a-new-picture-is-accepted"),
        pytest.param([1], BROKEN, NOTHING, [rejected(0, sha(1), BROKEN)], id="what-is-no-picture-is-rejected"),
        pytest.param([1, 1], MEASURED, NOTHING, [ACCEPTED, duplicate(1, sha(1))], id="the-second-of-twins-is-a-copy"),
        pytest.param(
            [1, 1],
            BROKEN,
            NOTHING,
            [rejected(0, sha(1), BROKEN), rejected(1, sha(1), BROKEN)],
            id="both-of-broken-twins-are-rejected",
        ),
        pytest.param(
            [1],
            MEASURED,
            immutables.Map({f"acme/car-1/{sha(1)}": 0}),
            [duplicate(0, sha(1))],
            id="a-picture-decided-before-and-not-yet-settled-is-a-copy",
        ),
        pytest.param(
            [1],
            MEASURED,
            immutables.Map({f"acme/car-2/{sha(1)}": 0}),
            [ACCEPTED],
            id="another-vehicles-picture-is-not-a-copy",
        ),
    ],
)
def test_fates_of_files(
    numbers: list[int], found: Measured | Refused, memory: Memory, fates: list[AdmittedFile]
) -> None:
    _, outcome = decide(memory, seen(numbers, found), None)
    assert isinstance(outcome, Emit)
    assert outcome.changes == (Admitted("acme", "up-1", "car-1", "d-1", ARRIVED, tuple(fates)),)


@pytest.mark.parametrize(
    ("memory", "known", "tenant", "skipped"),
    [
        pytest.param(NOTHING, KNOWN, "acme", False, id="a-new-upload-is-taken"),
        pytest.param(NOTHING, replace(KNOWN, admitted=True), "acme", True, id="one-in-the-tables-is-not-taken-again"),
        pytest.param(
            immutables.Map({"acme/up-1": 0}), KNOWN, "acme", True, id="one-that-is-not-settled-is-not-taken-again"
        ),
        pytest.param(
            immutables.Map({"acme/up-1": 0}), KNOWN, "other", False, id="another-tenants-upload-of-the-same-id-is-taken"
        ),
    ],
)
def test_the_same_upload_again(memory: Memory, known: Known, tenant: str, skipped: bool) -> None:
    after, outcome = decide(memory, seen([1], known=known, tenant=tenant), None)
    assert (outcome == Skip(SkipReason.ALREADY_ADMITTED)) == skipped
    assert (after is memory) == skipped


def test_what_is_refused_changes_nothing() -> None:
    dead_letter = DeadLetter(UploadReason.UNSIGNED)
    assert decide(NOTHING, replace(seen([1]), refused=dead_letter), None) == (NOTHING, dead_letter)


def test_units_have_sixteen_frames_and_gaps_do_not_count() -> None:
    upload = seen(range(36))
    found = tuple(BROKEN if number in (0, 5, 17) else MEASURED for number in range(36))
    _, outcome = decide(NOTHING, replace(upload, files=found), None)
    assert isinstance(outcome, Emit)
    units = [FramesIngested.model_validate_json(event.value or b"") for event in outcome.events]
    assert [len(unit.frames) for unit in units] == [16, 16, 1]
    taken = [frame.object.sha256 for unit in units for frame in unit.frames]
    assert taken == [sha(number) for number in range(36) if number not in (0, 5, 17)]
    assert [unit.unit_id for unit in units] == UNITS
    (change,) = outcome.changes
    assert isinstance(change, Admitted)
    stored = {f.frame_id: f.unit_id for f in change.files if f.frame_id}
    assert stored == {frame.frame_id: unit.unit_id for unit in units for frame in unit.frames}


def test_what_the_vehicle_knew_travels_from_its_announcement_into_the_unit() -> None:
    picture = Picture(b"any", ARRIVED, condition="night", camera="rear", signals=("hard_brake",))
    manifest = Manifest.model_validate({"upload_id": "up-1", "drive": "d-1", "files": [picture.announce()]})
    body = to_upload_completed(manifest, tenant="acme", vehicle="car-1", bucket="uploads", now=ARRIVED)
    _, outcome = decide(NOTHING, Observation(received(body.files), KNOWN, (MEASURED,)), None)
    assert isinstance(outcome, Emit)
    (frame,) = FramesIngested.model_validate_json(outcome.events[0].value or b"").frames
    assert (frame.condition, frame.camera, frame.signals) == ("night", "rear", ("hard_brake",))
    assert (frame.captured_at, frame.object.sha256) == (ARRIVED, picture.announce()["sha256"])


def test_a_unit_is_announced_by_an_id_that_a_replay_repeats() -> None:
    outcomes = [decide(NOTHING, seen([1, 2]), None)[1] for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[0], Emit)
    (event,) = outcomes[0].events
    assert from_headers(event.headers) == Attributes(
        "fb50cdfec613dcc4df101152d2ec419d",
        "/roadloop/ingest",
        "roadloop.frames.ingested.v1",
        "acme",
        "2026-03-02T08:00:00Z",
        "up-1",
    )
    assert (event.topic, event.key, event.partition) == ("frames.ingested.v1", b"car-1", None)


@pytest.mark.parametrize(
    ("signer", "received_at", "moment"),
    [
        pytest.param(OWN_KEY_ID, ARRIVED, ARRIVED, id="ingest-stamps-what-came-over-http"),
        pytest.param("acme/car-1", None, WRITTEN, id="an-agents-record-arrives-when-it-is-written"),
        pytest.param("acme/car-1", ARRIVED, WRITTEN, id="an-agent-cannot-choose-when-it-arrived"),
    ],
)
def test_the_hour_of_arrival(signer: str, received_at: datetime | None, moment: datetime) -> None:
    _, outcome = decide(NOTHING, seen([1], signer=signer, received_at=received_at), None)
    assert isinstance(outcome, Emit)
    (change,) = outcome.changes
    assert isinstance(change, Admitted)
    assert change.received_at == moment


def test_memory_is_bounded() -> None:
    full: Memory = immutables.Map({f"acme/car-9/{number}": number for number in range(REMEMBERED)})
    memory, _ = decide(full, seen([1]), None)
    assert set(memory) == {"acme/up-1", f"acme/car-1/{sha(1)}"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, None, id="its-own-object-is-fetched"),
        pytest.param({"uri": "s3://models/acme/car-1/1.jpg"}, FileReason.FOREIGN_URI, id="another-bucket"),
        pytest.param({"uri": "s3://uploads/other/car-1/1.jpg"}, FileReason.FOREIGN_URI, id="another-tenants-folder"),
        pytest.param({"uri": "s3://uploads/acme/car-2/1.jpg"}, FileReason.FOREIGN_URI, id="another-vehicles-folder"),
        pytest.param({"uri": "s3://uploads/acme/car-10/1.jpg"}, FileReason.FOREIGN_URI, id="a-longer-vehicles-folder"),
        pytest.param({"uri": f"{PREFIX}../car-2/1.jpg"}, FileReason.FOREIGN_URI, id="out-of-the-folder-by-dots"),
        pytest.param({"uri": f"{PREFIX}a/.."}, FileReason.FOREIGN_URI, id="dots-at-the-end"),
        pytest.param({"uri": f"{PREFIX}./1.jpg"}, FileReason.FOREIGN_URI, id="a-single-dot-which-no-client-takes"),
        pytest.param({"uri": f"{PREFIX}\x00.jpg"}, FileReason.FOREIGN_URI, id="a-nul-which-no-database-takes"),
        pytest.param({"uri": f"{PREFIX}..jpg"}, None, id="dots-in-a-name-are-a-name"),
        pytest.param({"size_bytes": 2000}, None, id="as-large-as-allowed"),
        pytest.param({"size_bytes": 2001}, FileReason.TOO_LARGE, id="one-byte-too-large"),
    ],
)
def test_what_is_not_even_fetched(changes: dict[str, object], reason: FileReason | None) -> None:
    object = file(1).object.model_copy(update=changes)
    refused = check_announcement(file(1, object=object), PREFIX, 2000)
    assert (refused.reason if refused else None) == reason
    assert refused is None or "\x00" not in refused.detail


@pytest.mark.parametrize(
    ("media_type", "reason"),
    [
        ("image/jpeg", None),
        ("image/png", None),
        ("image/webp", FileReason.UNSUPPORTED_MEDIA),
        ("video/mp4", FileReason.UNSUPPORTED_MEDIA),
    ],
)
def test_media_that_is_taken(media_type: str, reason: FileReason | None) -> None:
    refused = check_announcement(file(1, media_type=media_type), PREFIX, 2000)
    assert (refused.reason if refused else None) == reason


async def look_at(files: Sequence[UploadedFile], answer: bytes | Exception, **upload: object) -> Observation:
    async def look_up(_tenant: str, _upload: UploadCompleted) -> Known:
        return KNOWN

    async def fetch(_object: ObjectRef) -> bytes:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def measure(_content: bytes) -> Measured | Refused:
        return MEASURED

    return await observe(
        received(files, **upload),  # type: ignore[arg-type]
        own_key=OWN_KEY,
        bucket="uploads",
        max_file_bytes=2000,
        look_up=look_up,
        fetch=fetch,
        measure=measure,
    )


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param(b"picture", MEASURED, id="what-is-there-is-measured"),
        pytest.param(ObjectMissing("gone"), Refused(FileReason.OBJECT_MISSING, "gone"), id="a-missing-object"),
        pytest.param(ObjectChanged("other"), Refused(FileReason.OBJECT_CHANGED, "other"), id="a-changed-object"),
    ],
)
async def test_looking_at_files(answer: bytes | Exception, found: Measured | Refused) -> None:
    assert (await look_at([file(1), file(2)], answer)).files == (found, found)


async def test_an_outage_of_the_object_store_is_not_the_uploads_fault() -> None:
    with pytest.raises(Transient, match="s3: away"):
        await look_at([file(1), file(2)], Transient("s3", "away"))


@pytest.mark.parametrize("tenant", ["Acme", "a\x00b", "a/b", "-"])
async def test_a_tenant_that_cannot_be_is_not_looked_up(tenant: str) -> None:
    refused = (await look_at([file(1)], b"", tenant=tenant)).refused
    assert refused is not None
    assert refused.reason is UploadReason.UNKNOWN_VEHICLE
