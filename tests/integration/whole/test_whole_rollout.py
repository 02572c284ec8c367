"""A new version on the whole stack: it looks, judges some units, then serves; and one event takes it back."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from roadloop_runtime.storage.postgres import open_pool
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.frames import FrameScreened, Verdict
from roadloop_schemas.models import ModelReleased, ModelServing, RolloutStage
from roadloop_world.actors import fleet, tenant_setup
from roadloop_world.actors.subscriber import read_topic
from tests.integration.whole.conftest import Road, a_name, picture
from tests.waiting import LONG_TEST_S, eventually
from trainer_trigger.tables import model_table

pytestmark = [pytest.mark.integration, pytest.mark.timeout(LONG_TEST_S)]
SHADOW, SHARED = RolloutStage.SHADOW, RolloutStage.SHARED
Said = tuple[int, int | None, RolloutStage | None, float | None]  # serves, on its way, its stage, its share


async def told(road: Road, tenant: str) -> list[ModelServing]:
    records = await read_topic(road.bootstrap, "models.serving.v1")
    said = [ModelServing.model_validate_json(record.value or b"") for record in records]
    return [one for one in said if one.model == f"detector.{tenant}"]


def in_short(said: Sequence[ModelServing]) -> list[Said]:
    tried = [(one.version, one.candidate) for one in said]
    return [(v, c.version, c.stage, c.share) if c else (v, None, None, None) for v, c in tried]


async def screened(road: Road, tenant: str) -> list[FrameScreened]:
    records = await read_topic(road.bootstrap, "frames.screened.v1")
    mine = [record for record in records if dict(record.headers)["ce_tenant"] == tenant.encode()]
    return [FrameScreened.model_validate_json(record.value or b"") for record in mine]


async def release_again(road: Road, first: ModelReleased, version: int) -> None:
    """Release the same weights as the next version, as the trainer does after its gate."""
    changes = {"version": version, "release_id": derive_id("release", first.model, version), "previous_version": 1}
    pool = await open_pool(road.whole.stack.postgres_dsn("trainer_trigger"), name="test", size=1)
    try:
        async with pool.acquire() as connection, connection.transaction():
            await model_table.insert(connection, first.model_copy(update={**changes, "released_at": datetime.now(UTC)}))
    finally:
        await pool.close()


async def first_release(road: Road, tenant: str) -> ModelReleased:
    records = await read_topic(road.bootstrap, "models.released.v1")
    found = [ModelReleased.model_validate_json(record.value or b"") for record in records]
    return next(one for one in found if one.model == f"detector.{tenant}")


@asynccontextmanager
async def under_way(road: Road, car: fleet.Vehicle) -> AsyncIterator[list[str]]:
    """Let a car drive, four pictures at a time; what comes in here has all its uploads' names."""
    sent: list[str] = []
    parked = asyncio.Event()

    async def drive() -> None:
        while not parked.is_set():
            upload_id, pictures = a_name("up"), [picture() for _ in range(4)]
            uris = await road.put(upload_id, pictures, car)
            await road.send(*fleet.sign_completion(car, upload_id, "d-1", uris, pictures))
            sent.append(upload_id)

    driving = asyncio.create_task(drive())
    try:
        yield sent
    finally:
        parked.set()  # cancelled, it could have sent an upload and not have told so
        await driving


async def test_a_version_is_tried_on_live_frames_serves_and_is_rolled_back(road: Road) -> None:
    stack, tenant = road.whole.stack, a_name("roll")
    model = f"detector.{tenant}"
    await tenant_setup.seed_model(stack, tenant, model, tenant_setup.DETECTORS / "v1")
    await tenant_setup.set_policy(stack, tenant, '{"threshold": 0.5, "controlled": true}')

    async def serves(version: int) -> bool:
        said = await told(road, tenant)
        return bool(said) and (said[-1].version, said[-1].candidate) == (version, None)

    async def tried() -> tuple[Sequence[Said], int]:
        """Return the stages so far, and how many frames version 2 was asked about."""
        looks = [(one.models, one.shadow) for one in await screened(road, tenant)]
        by_2 = sum(2 in (models and models.version, shadow and shadow.version) for models, shadow in looks)
        return in_short(await told(road, tenant)), by_2

    await eventually("version 1 serves", lambda: serves(1))
    car = await road.enrol(tenant)
    async with under_way(road, car) as sent:
        await release_again(road, await first_release(road, tenant), 2)
        await eventually("version 2 serves", lambda: serves(2), moving=tried)
        rolled = await tenant_setup.run_command(
            stack, "trainer-trigger", "models", "rollback", "--tenant", tenant, "--model", model
        )
        assert rolled == f"released {model} version 1 again, in place of version 2"
        await eventually("version 1 serves again", lambda: serves(1))
        before = len(sent)
        await eventually("uploads came after that", lambda: _more(sent, before + 3))

    said = in_short(await told(road, tenant))
    nobody = (None, None, None)
    assert said == [
        (1, *nobody),
        (1, 2, SHADOW, 0.2),
        (1, 2, SHARED, 0.1),
        (1, 2, SHARED, 0.5),
        (2, *nobody),
        (1, *nobody),
    ]
    listed = json.loads(
        await tenant_setup.run_command(stack, "trainer-trigger", "models", "list", "--tenant", tenant, "--json")
    )
    assert [(one["version"], one["rollout"]) for one in listed] == [(1, "")]

    for upload_id in sent:  # no frame was failed by it, and each has one verdict
        fate = await road.fate(upload_id, car)
        assert fate["accepted"] == 4
        assert fate.get("kept", 0) + fate.get("dropped", 0) == 4, fate
    verdicts = await screened(road, tenant)
    assert len(verdicts) == len({verdict.frame_id for verdict in verdicts}) == 4 * len(sent)
    assert all(verdict.verdict is not Verdict.QUARANTINED for verdict in verdicts)
    beside = [verdict for verdict in verdicts if verdict.shadow]
    assert beside
    for verdict in beside:
        assert verdict.models
        assert verdict.shadow
        assert (verdict.models.version, verdict.shadow.version, verdict.shadow.failure) == (1, 2, "")
        assert verdict.shadow.score_parts.items() <= verdict.score_parts.items(), "the weights are the same"
    judged = [verdict.models.version for verdict in verdicts if verdict.models]
    assert 2 in judged
    last = [verdict for verdict in verdicts if verdict.upload_id == sent[-1]]
    assert {verdict.models.version for verdict in last if verdict.models} == {1}


async def _more(sent: list[str], count: int) -> bool:
    return len(sent) >= count
