"""What rollout does with a release, whatever becomes of the model server in the meantime."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from roadloop_runtime.objects import ObjectMissing
from roadloop_runtime.outcome import Transient
from roadloop_runtime.records import Event
from roadloop_schemas.cloudevents import Attributes, to_headers
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import DetectorCard, ModelReleased, ModelServing, ServingState
from screen.detections import Look
from screen.handle import RefusedByModel
from screen.repository import Instances
from screen.rollout import Rollout
from screen.triton import NotLoadable, is_fault_of_model

MODEL = "detector.demo"
CARD = DetectorCard(family="roadloop", classes=("car",), input_width=256, input_height=160)


@dataclass(frozen=True)
class Read:
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = to_headers(Attributes("id", "/trainer", "type", "demo"))
    key: bytes = MODEL.encode()


def released(version: int) -> Read:
    body = ModelReleased(
        release_id=f"release-{version}",
        model=MODEL,
        version=version,
        weights=ObjectRef(uri="s3://models/demo/model.onnx", sha256="0" * 64, size_bytes=1),
        card=CARD,
        released_at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    return Read(body.model_dump_json().encode())


@dataclass
class Server:
    """A model server with one fault at most."""

    fault: Exception | None = None
    answers: bool = True
    live: bool = True
    loads: int = 0

    async def is_live(self) -> bool:
        return self.live

    async def load(self, model: str, config: str) -> None:
        self.loads += 1
        if self.fault:
            raise self.fault

    async def detect(self, model: str, version: int, picture: bytes) -> Look:
        if not self.answers:
            raise Transient("triton", "stub is dead")
        return Look(())


@dataclass
class Desk:
    """A rollout, its server and what it told."""

    folder: Path
    server: Server = field(default_factory=Server)
    told: list[ModelServing] = field(default_factory=list)
    missing: bool = False

    def __post_init__(self) -> None:
        async def fetch(_: ObjectRef) -> bytes:
            if self.missing:
                raise ObjectMissing("gone")
            return b"onnx"

        async def tell(event: Event) -> None:
            self.told.append(ModelServing.model_validate_json(event.value or b""))

        self.rollout = Rollout(fetch, self.server, self.folder, tell, Instances())  # type: ignore[arg-type]

    @property
    def said(self) -> list[tuple[int, ServingState]]:
        return [(one.version, one.state) for one in self.told]


SERVING, REFUSED = ServingState.SERVING, ServingState.REFUSED


async def test_a_release_is_loaded_asked_and_told_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.rollout.take(released(1))
    for _ in range(3):
        await desk.rollout.look_once()
    assert (desk.said, desk.server.loads) == ([(1, SERVING)], 1)


@pytest.mark.parametrize("fault", [Transient("triton", "connection refused")], ids=["the-server-goes-away-in-a-load"])
async def test_an_outage_refuses_no_release(tmp_path: Path, fault: Exception) -> None:
    desk = Desk(tmp_path, Server(fault))
    await desk.rollout.take(released(1))
    await desk.rollout.look_once()
    assert desk.said == []
    desk.server.fault = None
    await desk.rollout.look_once()
    assert desk.said == [(1, SERVING)]


@pytest.mark.parametrize(
    ("fault", "missing"),
    [
        pytest.param(NotLoadable("no network"), False, id="weights-that-do-not-open"),
        pytest.param(RefusedByModel("not read"), False, id="a-model-that-refuses-every-picture"),
        pytest.param(None, True, id="weights-that-are-gone"),
    ],
)
async def test_a_bad_release_is_refused_once_and_the_old_one_serves_on(
    tmp_path: Path, fault: Exception | None, missing: bool
) -> None:
    desk = Desk(tmp_path)
    await desk.rollout.take(released(1))
    await desk.rollout.look_once()
    desk.server.fault, desk.missing = fault, missing
    await desk.rollout.take(released(2))
    for _ in range(3):
        await desk.rollout.look_once()
    assert desk.said == [(1, SERVING), (2, REFUSED)]
    assert desk.told[-1].previous_version == 1, "says what still serves"


async def test_a_serving_version_that_cannot_be_healed_is_not_told_again_and_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.rollout.take(released(1))
    await desk.rollout.look_once()
    desk.server.answers, desk.server.fault = False, NotLoadable("disk is gone")
    for _ in range(3):
        await desk.rollout.look_once()
    assert desk.said == [(1, SERVING)]
    desk.server.answers, desk.server.fault = True, None
    await desk.rollout.look_once()
    assert desk.said == [(1, SERVING)]


@pytest.mark.parametrize(
    ("status", "at_fault"),
    [
        ("StatusCode.INVALID_ARGUMENT", True),
        ("StatusCode.UNAVAILABLE", False),
        ("StatusCode.DEADLINE_EXCEEDED", False),
        ("StatusCode.INTERNAL", False),
        (None, False),
    ],
)
def test_only_an_invalid_argument_is_the_models_fault(status: str | None, at_fault: bool) -> None:
    assert is_fault_of_model(status) is at_fault
