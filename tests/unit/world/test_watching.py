"""The demo's watching, on a simulated clock and stream: slow but moving never fails, standing still does."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import async_solipsism
import pytest

from roadloop_runtime.records import Record
from roadloop_schemas.models import TrainingState
from roadloop_world.demo.loop_state import LoopState, News, describe_training, select_loss_curve
from roadloop_world.demo.promises import Outcome, Promise, check
from roadloop_world.demo.wait_while_moving import StoodStill, Watch
from tests.builders import make_event, make_training, make_verdict, read_back

RUN = {"run_id": "3fa2c1d0", "model": "detector.demo", "labels": 183, "frame_ids": ()}
REFUSED = "gain_too_small: mean mAP50 +0.0100, at least +0.0500 is wanted"


def simulated(story: Coroutine[Any, Any, None]) -> float:
    """Run on a clock that jumps to whatever is waited for next; return the seconds that went by."""
    loop = async_solipsism.EventLoop()
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(story)
            return float(loop.time())
    finally:
        loop.close()


def change(state: TrainingState, **fields: Any) -> Record:
    return read_back(make_event(make_training(state=state, **(RUN | fields)), tenant="demo"))


def screened(number: int) -> Record:
    return read_back(make_event(make_verdict(frame_id=f"frame-{number}"), tenant="demo"))


async def fold_in(watch: Watch, *records: Record, every_s: float) -> None:
    for record in records:
        await asyncio.sleep(every_s)
        watch.state.take(record)
        watch.notify()


def test_what_is_slow_but_moves_is_waited_for_however_long_it_takes() -> None:
    async def story() -> None:
        watch = Watch(LoopState(), patience_s=300)
        async with asyncio.TaskGroup() as group:
            group.create_task(fold_in(watch, *map(screened, range(100)), every_s=299))
            await watch.wait_until("all is screened", lambda: len(watch.state.verdicts) == 100, look_at="the log")

    assert simulated(story()) > 8 * 3600


@pytest.mark.parametrize(
    ("move", "last"),
    [
        pytest.param(lambda state: state.take(screened(1)), "a verdict: frame frame-1 kept", id="a-verdict"),
        pytest.param(
            lambda state: state.take(change(TrainingState.RUNNING)), "training 3fa2c1: running", id="a-training"
        ),
        pytest.param(
            lambda state: state.take_step({"run_id": "3fa2c1d0", "phase": "training", "step": 80}),
            "training 3fa2c1: training, step 80",
            id="a-training-step",
        ),
        pytest.param(
            lambda state: state.take_books({"ingested": 40, "frames": {"in_flight": 7}, "files": {"open": 2}}),
            "the books: 40 frames ingested, 9 in flight",
            id="a-record-settled",
        ),
    ],
)
def test_what_stands_still_ends_the_wait_and_says_what_moved_last_and_where_to_look(move: Any, last: str) -> None:
    async def story() -> None:
        watch = Watch(LoopState(), patience_s=300)
        loop = asyncio.get_running_loop()
        for later in (200, 400, 600):
            loop.call_later(later, lambda: watch.state.take(change(TrainingState.QUEUED)))
        loop.call_later(800, lambda: move(watch.state))
        with pytest.raises(StoodStill) as stood_still:
            await watch.wait_until("the new model is released", lambda: False, look_at="`roadloop runs list`")
        assert str(stood_still.value) == (
            "waited for this: the new model is released. Nothing has moved for 300 s; "
            f"what moved last: {last}. Look at `roadloop runs list`"
        )

    assert simulated(story()) == pytest.approx(1_101, abs=2)


def test_where_nothing_ever_comes_that_is_said() -> None:
    async def story() -> None:
        with pytest.raises(StoodStill, match="what moved last: nothing yet"):
            await Watch(LoopState(), patience_s=300).wait_until("it serves", lambda: False, look_at="the log")

    assert simulated(story()) == pytest.approx(301, abs=2)


def test_books_that_say_the_same_again_and_again_are_no_move() -> None:
    async def story() -> None:
        watch = Watch(LoopState(), patience_s=300)

        async def read_for_ever() -> None:
            while True:
                watch.state.take_books({"ingested": 40})
                watch.notify()
                await asyncio.sleep(2)

        reading = asyncio.ensure_future(read_for_ever())
        with pytest.raises(StoodStill, match="the books: 40 frames ingested, 0 in flight"):
            await watch.wait_until("the rest is ingested", lambda: False, look_at="the log")
        reading.cancel()

    assert simulated(story()) == pytest.approx(301, abs=3)


@pytest.mark.parametrize(
    ("record", "news"),
    [
        (change(TrainingState.QUEUED), News("training 3fa2c1 is queued, 183 labels")),
        (change(TrainingState.QUEUED, revision=1), None),
        (change(TrainingState.RUNNING), None),
        (
            change(TrainingState.EVALUATED, metrics={"map50": 0.512, "gain": 0.01}),
            News("training 3fa2c1 is measured: mean mAP 0.512 (+0.010)"),
        ),
        (
            change(TrainingState.RELEASED, candidate_version=2),
            News("training 3fa2c1 passed its gate: released as version 2", "green"),
        ),
        (change(TrainingState.REFUSED, detail=REFUSED), News(f"training 3fa2c1 was refused by the gate: {REFUSED}")),
        (
            change(TrainingState.REFUSED, detail=REFUSED, labels=0),
            News(f"offer 3fa2c1 was refused by the gate: {REFUSED}"),
        ),
        (change(TrainingState.FAILED, detail="it hung [/x]"), News("training 3fa2c1 failed: it hung [/x]", "red")),
    ],
)
def test_what_becomes_of_a_run_is_said_the_moment_it_is_known(record: Record, news: News | None) -> None:
    assert LoopState().take(record) == news


def report(**changes: Any) -> dict[str, Any]:
    fates = {"kept": 10, "dropped": 90, "quarantined": 0, "dead_lettered": 0}
    figures = {"fates": fates, "ingested": 100, "in_flight": 0, "balanced": True}
    return {**figures, "audit": [], "duplicates_seen": 0, "complete": True, "ended_early": "", **changes}


def state_after(*records: Record) -> LoopState:
    state = LoopState()
    for record in records:
        state.take(record)
    return state


RELEASED = change(TrainingState.RELEASED, candidate_version=2)
OFFER_REFUSED = change(TrainingState.REFUSED, detail=REFUSED, labels=0, run_id="0ffe12ab")
HELD, BROKEN, UNTRIED = Outcome.HELD, Outcome.BROKEN, Outcome.UNTRIED


def test_a_whole_round_holds_whatever_was_repeated_on_the_way() -> None:
    promises = check(report(repeated_requests=40), state_after(RELEASED, OFFER_REFUSED))
    assert {promise.outcome for promise in promises} == {HELD}
    assert len(promises) == 11


def test_a_round_that_ended_early_says_why_and_what_was_not_tried() -> None:
    ended = report(complete=False, ended_early="nothing has moved", audit=None, duplicates_seen=None)
    promises = {promise.name: promise for promise in check(ended, state_after(change(TrainingState.RUNNING)))}
    assert promises.pop("the demo ran to its end") == Promise("the demo ran to its end", BROKEN, "nothing has moved")
    assert promises.pop("no training failed").outcome is HELD
    assert {promise.outcome for promise in promises.values()} == {UNTRIED}
    assert promises["a model was trained and released"].why == "training running"


@pytest.mark.parametrize(
    ("changes", "records", "broken"),
    [
        pytest.param({"balanced": False}, (), ("the books balance", "they do not: roadloop books"), id="the-books"),
        pytest.param({"in_flight": 3}, (), ("nothing is in flight", "3 files and frames are: roadloop lag"), id="late"),
        pytest.param(
            {"ingested": 101}, (), ("every frame has a fate", "1 of 101 frames have none"), id="a-frame-without-fate"
        ),
        pytest.param(
            {"audit": [{"kind": "no-verdict"}]},
            (),
            ("an outside reader finds nothing lost or twice", "it finds [{'kind': 'no-verdict'}]"),
            id="lost",
        ),
        pytest.param({"duplicates_seen": 2}, (), ("no subscriber saw an event twice", "2 were seen"), id="seen-twice"),
        pytest.param(
            {"fates": {"kept": 30, "dropped": 70, "quarantined": 0, "dead_lettered": 0}},
            (),
            ("about 10 % was kept", "30.0% was"),
            id="kept-too-much",
        ),
        pytest.param(
            {},
            (change(TrainingState.RELEASED, candidate_version=3, labels=0, run_id="0ffe12ab"),),
            (
                "the worse model was refused",
                "offer 0ffe12 passed its gate: released as version 3",
            ),
            id="the-worse-model-passed",
        ),
    ],
)
def test_what_did_not_hold_says_why(
    changes: dict[str, Any], records: tuple[Record, ...], broken: tuple[str, str]
) -> None:
    promises = check(report(**changes), state_after(RELEASED, *records))
    assert [(promise.name, promise.why) for promise in promises if promise.outcome is BROKEN] == [broken]


def test_a_refused_training_is_told_as_what_it_is() -> None:
    promises = check(report(), state_after(change(TrainingState.REFUSED, detail=REFUSED), OFFER_REFUSED))
    broken = [promise for promise in promises if promise.outcome is BROKEN]
    why = f"training 3fa2c1 was refused by the gate: {REFUSED}"
    assert broken == [Promise("a model was trained and released", BROKEN, why)]


def test_the_curve_is_of_the_training_that_was_logged_last() -> None:
    steps = [{"run_id": run, "step": step, "loss": loss} for run, step, loss in
             [("a", 1, 0.9), ("b", 0, None), ("b", 1, 0.8), ("b", 2, 0.7)]]  # fmt: skip
    assert [step["loss"] for step in select_loss_curve(steps)] == [0.8, 0.7]
    assert select_loss_curve([]) == []


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"phase": "compiling", "loss": None}, "training: compiling"),
        (
            {"phase": "training", "step": 80, "steps": 150, "loss": 0.4321, "left_s": 12.4},
            "training: training, step 80 of 150, loss 0.432, about 12 s left",
        ),
    ],
)
def test_where_a_training_is(step: dict[str, Any], words: str) -> None:
    assert describe_training(step) == words
