"""What rollout does with a release, whatever becomes of the model server in the meantime."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from roadloop_runtime.outcome import Transient
from roadloop_runtime.records import Event, Record
from roadloop_runtime.storage.objects import ObjectMissing
from roadloop_schemas.cloudevents import from_headers
from roadloop_schemas.fields import EventBody, ObjectRef
from roadloop_schemas.frames import ModelPair, ShadowVerdict
from roadloop_schemas.models import ModelServing, RolloutStage, ServingState
from screen.inference.predict import Fetch, RefusedByModel
from screen.inference.triton import NotLoadable, Triton, is_fault_of_model
from screen.rollout.loading import Loading
from screen.rollout.model_repository import Instances
from screen.rollout.rollout import Rollout, Tell
from screen.rollout.stages import Plan
from tests.builders import make_event, make_release, make_verdict, read_back

MODEL = "detector.demo"
SERVING, REFUSED = ServingState.SERVING, ServingState.REFUSED
SHADOW, SHARED = RolloutStage.SHADOW, RolloutStage.SHARED
AT_ONCE = Plan(shadow=0, shares=())
CAREFUL = Plan(shadow=0.2, shares=(0.1, 0.5), frames=100, patience_s=600)


def told(body: EventBody) -> Record:
    return read_back(make_event(body, tenant="demo", key=MODEL))


def released(version: int, *, rollback: bool = False, model: str = MODEL) -> Record:
    release_id = f"{'rollback' if rollback else 'release'}-{version}"
    return told(make_release(version, release_id=release_id, rollback=rollback, model=model))


def on_live_frame(shadow: ShadowVerdict | None, judged_by: int) -> Record:
    return told(make_verdict(models=ModelPair(name=MODEL, version=judged_by), shadow=shadow))


@dataclass
class Server:
    """A model server with one fault at most, and versions that do not answer."""

    fault: Exception | None = None
    answers: bool = True
    dead: set[int] = field(default_factory=set)
    unloadable: set[int] = field(default_factory=set)
    versions: list[int] = field(default_factory=list)
    live: bool = True
    loads: int = 0

    async def is_live(self) -> bool:
        return self.live

    async def load(self, model: str, config: str) -> None:
        self.loads += 1
        if self.fault:
            raise self.fault
        versions = json.loads(config)["version_policy"]["specific"]["versions"]
        if self.unloadable & set(versions):
            raise NotLoadable("a version is at UNAVAILABLE state")
        self.versions, self.answers = versions, True

    async def ask_canary(self, model: str, version: int) -> None:
        if not self.answers or version in self.dead:
            raise Transient("triton", "stub is dead")


@dataclass
class Desk:
    """A rollout, its server and what it told."""

    folder: Path
    server: Server = field(default_factory=Server)
    told: list[ModelServing] = field(default_factory=list)
    missing: bool = False
    plan: Plan = AT_ONCE
    now: float = 0.0

    def __post_init__(self) -> None:
        async def fetch(_: ObjectRef) -> bytes:
            if self.missing:
                raise ObjectMissing("gone")
            return b"onnx"

        async def tell(events: Sequence[Event]) -> None:
            self.told += [ModelServing.model_validate_json(event.value or b"") for event in events]
            self.ids += [from_headers(event.headers).id for event in events]

        self.ids: list[str] = []
        self.rollout = self._start(fetch, tell)

    def _start(self, fetch: Fetch, tell: Tell) -> Rollout:
        loading = Loading(fetch, cast("Triton", self.server), self.folder, Instances())
        return Rollout(loading, tell, plan=self.plan, clock=lambda: self.now)

    @property
    def said(self) -> list[tuple[int, ServingState]]:
        return [(one.version, one.state) for one in self.told]

    @property
    def stages(self) -> list[tuple[int, int, RolloutStage, float] | int]:
        """Return what was said: which version serves, and which one is on its way in which stage."""
        tried = [(one, one.candidate) for one in self.told if one.state is SERVING]
        return [(one.version, new.version, new.stage, new.share) if new else one.version for one, new in tried]

    async def serve_and_release(self, *versions: int) -> None:
        """Let a version serve, and release the others after it, each looked at once."""
        for version in versions:
            await self.rollout.take(released(version))
            await self.rollout.look_once()

    async def live(self, count: int, *, failing: int = 0, judged_by: int = 1) -> None:
        """Tell of live frames that version 2 answered, and of some that it did not; then look."""
        for number in range(count + failing):
            shadow = ShadowVerdict(version=2, failure="no answer" if number >= count else "", score=0.5)
            await self.rollout.take_verdict(on_live_frame(shadow if judged_by != 2 else None, judged_by))
        await self.rollout.look_once()


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


STAGES = [1, (1, 2, SHADOW, 0.2), (1, 2, SHARED, 0.1), (1, 2, SHARED, 0.5), 2]


async def test_a_new_version_is_a_shadow_then_judges_a_share_then_serves(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    assert desk.stages == STAGES[:2]
    assert desk.server.versions == [1, 2]
    await desk.live(99)
    assert desk.stages == STAGES[:2], "one frame more is wanted"
    for judged_by in (1, 2, 2):
        await desk.live(100, judged_by=judged_by)
    assert desk.stages == STAGES
    assert (desk.told[-1].previous_version, desk.told[-1].release_id) == (1, "release-2")
    assert desk.server.loads == 2, "nothing is loaded between stages"
    assert len(set(desk.ids)) == len(desk.ids)
    assert not desk.rollout.trying.is_set()


async def test_a_version_that_fails_on_live_frames_is_refused_and_the_old_one_judges_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    await desk.live(50, failing=2)
    assert desk.said[-1] == (1, SERVING), "a server that is started again fails two frames"
    await desk.live(0, failing=1)
    assert desk.said[-2:] == [(1, SERVING), (2, REFUSED)]
    assert "3 of 53 live frames" in desk.told[-1].detail
    assert "no answer (f-1)" in desk.told[-1].detail
    assert desk.stages == [*STAGES[:2], 1]
    await desk.live(200)
    assert len(desk.told) == 4, "it was refused once for all"


async def test_a_version_that_dies_again_and_again_is_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    desk.server.dead = {2}
    for _ in range(3):
        await desk.rollout.look_once()
    assert desk.said[-1] == (1, SERVING)
    await desk.rollout.look_once()
    assert desk.said[-2:] == [(1, SERVING), (2, REFUSED)]
    assert "stopped answering 4 times" in desk.told[-1].detail


async def test_a_version_that_keeps_the_serving_one_from_loading_is_refused_and_that_serves_again(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    desk.server.answers, desk.server.unloadable = False, {2}  # started again, and the folder of version 2 is damaged
    await desk.rollout.look_once()
    assert desk.server.versions == [1]
    desk.server.answers = True
    for _ in range(2):
        await desk.rollout.look_once()
    assert desk.said[2:] == [(1, SERVING), (2, REFUSED)]
    assert "version 1, which serves, does not load beside it" in desk.told[-1].detail


async def test_an_outage_of_the_server_says_nothing_of_a_version_on_its_way(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    desk.server.answers, desk.server.fault = False, Transient("triton", "connection refused")
    for _ in range(20):
        await desk.rollout.look_once()
    assert desk.stages == STAGES[:2]
    desk.server.answers, desk.server.fault = True, None
    await desk.live(100)
    assert desk.stages == STAGES[:3]


async def test_a_fleet_that_sleeps_does_not_hold_a_release_up(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    for now, stages in ((599, 2), (600, 3), (1_199, 3), (1_200, 4), (1_800, 5)):
        desk.now = now
        await desk.rollout.look_once()
        assert desk.stages == STAGES[:stages]


async def test_a_slow_fleet_or_machine_is_waited_for_however_long_its_frames_take(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    for frame in range(1, 100):
        desk.now = 599.0 * frame
        await desk.live(1)
    assert desk.stages == STAGES[:2], "99 frames, in sixteen hours"
    desk.now += 599
    await desk.rollout.take_verdict(on_live_frame(None, judged_by=1))
    desk.now += 599
    await desk.rollout.look_once()
    assert desk.stages == STAGES[:2], "a frame that it was not asked about shows that the fleet is awake"
    await desk.live(1)
    assert desk.stages == STAGES[:3]


async def test_a_rollback_serves_at_once_as_the_release_it_was(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    for judged_by in (1, 2, 2):
        await desk.live(100, judged_by=judged_by)
    await desk.rollout.take(released(1, rollback=True))
    await desk.rollout.look_once()
    assert desk.stages[-1] == 1
    assert (desk.told[-1].previous_version, desk.told[-1].release_id) == (2, "rollback-1")


async def test_a_rollback_to_what_serves_takes_the_version_on_its_way_back(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    await desk.rollout.take(released(1, rollback=True))
    for _ in range(2):
        await desk.rollout.look_once()
    assert desk.stages == [*STAGES[:2], 1]
    assert desk.told[-1].previous_version is None


async def test_a_newer_release_takes_the_place_of_the_one_on_its_way(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2, 3)
    assert desk.stages[-1] == (1, 3, SHADOW, 0.2)
    await desk.live(500)  # these are of version 2
    assert desk.stages[-1] == (1, 3, SHADOW, 0.2)


async def test_a_rollout_that_is_started_again_goes_on_in_the_stage_it_was_in(tmp_path: Path) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    await desk.serve_and_release(1, 2)
    await desk.live(100)
    again = Desk(tmp_path, plan=CAREFUL)
    again.rollout.recall([told(desk.told[-1])])
    await again.rollout.take(released(2))
    await again.live(100, judged_by=2)
    assert again.stages == [(1, 2, SHARED, 0.5)]
    assert again.server.loads == 0, "both versions answer"


@pytest.mark.parametrize("model", ["second.demo", "detector.other"])
async def test_only_what_judges_its_tenants_frames_is_tried_on_them(tmp_path: Path, model: str) -> None:
    desk = Desk(tmp_path, plan=CAREFUL)
    for version in (1, 2):
        await desk.rollout.take(released(version, model=model))
        await desk.rollout.look_once()
    assert desk.stages == [1, 2]


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
