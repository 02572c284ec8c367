"""What a demo promises, and whether it held: said of what was seen, also when a demo ended early. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from roadloop_schemas.models import TrainingChanged, TrainingState
from roadloop_world.demo.loop_state import LoopState, describe_run

KEPT_LEAST, KEPT_MOST = 0.05, 0.15


class Outcome(StrEnum):
    """What became of a promise. What was not tried says nothing of the loop."""

    HELD = "held"
    BROKEN = "did not hold"
    UNTRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise, what became of it, and why."""

    name: str
    outcome: Outcome
    why: str = ""


def check(report: Mapping[str, Any], state: LoopState) -> list[Promise]:
    """Say of each promise whether it held.

    What only a whole round shows is not tried where `report["complete"]` is false; `audit` and `duplicates_seen` are
    None until they were asked for; `ended_early` is why the demo did not run to its end.
    """
    trainings, offers = state.list_newest_runs(offered=False), state.list_newest_runs(offered=True)
    audit = report["audit"]
    return [
        _judge(report["complete"] or report["ended_early"], "the demo ran to its end", *_check_end(report)),
        *_check_books(report),
        _judge(audit is not None, "an outside reader finds nothing lost or twice", not audit, f"it finds {audit}"),
        _judge(report["duplicates_seen"] is not None, "no subscriber saw an event twice", *_check_duplicates(report)),
        _check_release(trainings),
        _check_refusal(offers),
        _check_failures(trainings),
    ]


def _check_end(report: Mapping[str, Any]) -> tuple[bool, str]:
    return not report["ended_early"], report["ended_early"]


def _check_duplicates(report: Mapping[str, Any]) -> tuple[bool, str]:
    return not report["duplicates_seen"], f"{report['duplicates_seen']} were seen"


def _check_books(report: Mapping[str, Any]) -> Iterator[Promise]:
    fates, ingested, complete = report["fates"], report["ingested"], report["complete"]
    yield _judge(complete, "the books balance", report["balanced"], "they do not: roadloop books")
    waiting = f"{report['in_flight']} files and frames are: roadloop lag"
    yield _judge(complete, "nothing is in flight", report["in_flight"] == 0, waiting)
    missing = f"{ingested - sum(fates.values())} of {ingested} frames have none"
    yield _judge(complete, "every frame has a fate", ingested == sum(fates.values()), missing)
    unjudged = (
        f"{fates['quarantined']} were quarantined, {fates['dead_lettered']} dead-lettered: roadloop deadletters list"
    )
    yield _judge(complete, "every frame was judged", not fates["quarantined"] + fates["dead_lettered"], unjudged)
    share = fates["kept"] / ingested if ingested else 0.0
    yield _judge(complete, "about 10 % was kept", KEPT_LEAST <= share <= KEPT_MOST, f"{share:.1%} was")


def _judge(tried: object, name: str, holds: bool, why: str) -> Promise:
    """Say whether a promise held, of something that was tried at all."""
    if not tried:
        return Promise(name, Outcome.UNTRIED)
    return Promise(name, Outcome.HELD if holds else Outcome.BROKEN, "" if holds else why)


def _check_release(trainings: list[TrainingChanged]) -> Promise:
    name = "a model was trained and released"
    if any(run.state is TrainingState.RELEASED for run in trainings):
        return Promise(name, Outcome.HELD)
    ended = [run for run in trainings if run.state in (TrainingState.REFUSED, TrainingState.FAILED)]
    if not ended:
        return Promise(name, Outcome.UNTRIED, f"training {trainings[-1].state}" if trainings else "none began")
    return Promise(name, Outcome.BROKEN, describe_run(ended[-1]))


def _check_refusal(offers: list[TrainingChanged]) -> Promise:
    name = "the worse model was refused"
    for run in offers:
        if run.state is TrainingState.REFUSED:
            return Promise(name, Outcome.HELD, run.detail)
        if run.state in (TrainingState.RELEASED, TrainingState.FAILED):
            return Promise(name, Outcome.BROKEN, describe_run(run))
    return Promise(name, Outcome.UNTRIED, f"the offer is {offers[-1].state}" if offers else "none was offered")


def _check_failures(trainings: list[TrainingChanged]) -> Promise:
    failed = [run for run in trainings if run.state is TrainingState.FAILED]
    return _judge(trainings, "no training failed", not failed, describe_run(failed[-1]) if failed else "")
