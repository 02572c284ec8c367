"""Releases: what screening answers, and what a rollback brings back."""

import json

import pytest

from roadloop_schemas.models import RolloutStage, ServingState
from tests.builders import NOW, make_candidate
from trainer_trigger import open_run
from trainer_trigger.refusals import NothingToRollBack
from trainer_trigger.tables import model_table, serving_table
from trainer_trigger.tables.serving_table import Serving
from trainer_trigger.training import release

from .conftest import Bench

pytestmark = pytest.mark.integration


async def test_a_refused_release_is_answered_and_leaves_the_version_before_it(bench: Bench) -> None:
    await bench.serve("v0")
    assert await open_run.unanswered_release(bench.pool, bench.model) is None
    await bench.pool.execute("insert into releases select model, 2, tenant, body, now() from releases")
    assert await open_run.unanswered_release(bench.pool, bench.model) == 2

    await bench.screening_says(2, tenant="somebody-else")
    assert await serving_table.of_model(bench.pool, bench.model) == Serving(1, 1)
    await bench.screening_says(2, state=ServingState.REFUSED, previous=1, detail="it failed 3 of 53 live frames")
    assert await serving_table.of_model(bench.pool, bench.model) == Serving(1, 2)
    listed = await model_table.listed(bench.pool, model=bench.model)
    assert [one.rollout for one in listed] == ["", "refused: it failed 3 of 53 live frames"]
    await bench.pool.execute("delete from serving")  # as after a restore: the topic tells it again
    await bench.screening_says(2, state=ServingState.REFUSED, previous=1)
    assert await serving_table.of_model(bench.pool, bench.model) == Serving(1, 2)
    await bench.screening_says(3)
    assert await serving_table.of_model(bench.pool, bench.model) == Serving(3, 3)
    await bench.screening_says(
        2, state=ServingState.REFUSED, previous=1, detail="of long ago"
    )  # at a start it may come last
    listed = await model_table.listed(bench.pool, model=bench.model)
    assert [one.rollout for one in listed] == ["", "refused: of long ago"]
    await bench.screening_says(2)
    assert {one.rollout for one in await model_table.listed(bench.pool, model=bench.model)} == {""}


async def test_a_rollback_is_one_event_that_releases_the_whole_version_again(bench: Bench) -> None:
    first = await bench.serve("v0")
    with pytest.raises(NothingToRollBack, match="no version that served before"):
        await release.roll_back(bench.pool, bench.model, to=None, now=NOW)
    with pytest.raises(NothingToRollBack, match=r"version 1 of .* serves already"):
        await release.roll_back(bench.pool, bench.model, to=1, now=NOW)
    with pytest.raises(NothingToRollBack, match="has no version 9"):
        await release.roll_back(bench.pool, bench.model, to=9, now=NOW)

    # version 2 is on its way: what is taken back is that
    await bench.pool.execute("insert into releases select model, 2, tenant, body, now() from releases")
    tried = make_candidate(version=2, stage=RolloutStage.SHARED, share=0.1, card=first.card)
    await bench.screening_says(1, candidate=tried)
    (_, second) = await model_table.listed(bench.pool, model=bench.model)
    assert second.rollout == "judges 10% of units"
    taken_back = await release.roll_back(bench.pool, bench.model, to=None, now=NOW)
    assert (taken_back.version, taken_back.previous_version, taken_back.rollback) == (1, 2, True)
    assert await open_run.unanswered_release(bench.pool, bench.model) is None, "nobody waits for version 2 any more"

    # version 2 serves: what comes back is version 1, as it was released
    await bench.screening_says(2, previous=1)
    again = await release.roll_back(bench.pool, bench.model, to=None, now=NOW)
    changed = {"release_id": again.release_id, "rollback": True, "previous_version": 2, "released_at": NOW}
    assert again == first.model_copy(update=changed)
    told = await bench.pool.fetch("select value from outbox where topic = 'models.released.v1'")
    rollbacks = [body for row in told if (body := json.loads(row["value"]))["rollback"]]
    assert [body["version"] for body in rollbacks] == [1, 1]
    assert len({body["release_id"] for body in rollbacks}) == 2
