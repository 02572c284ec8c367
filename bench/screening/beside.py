"""Two workers beside each other, with a model that takes 50 ms and no processor: this measures coordination."""

from contextlib import AsyncExitStack
from statistics import median
from typing import Any

from loop.turns import Report
from screening import models, units, verdicts, worker
from screening.speed import STEADY, Place

TENANT = "beside"
PAUSE_MS = 50
FRAMES_AT_ONCE = 4  # of one worker: so few that a core can do for two
INSTANCES = 12
FRAMES_OF_ONE = 1_440


async def measure(place: Place, rounds: int, report: Report) -> list[dict[str, Any]]:
    """Screen with one worker and with two in turns, two of them twice as many frames."""
    await models.bring_stub(place.stack, TENANT, pause_ms=PAUSE_MS, instances=INSTANCES, batch=1)
    place.take()
    runs = []
    for turn in range(rounds):
        for workers in (1, 2) if turn % 2 == 0 else (2, 1):
            speed = await _screen(place, f"beside.{turn}.{workers}", workers)
            runs.append({"round": turn, "workers": workers, "frames_per_s": speed})
            report(f"beside {turn + 1}/{rounds} {workers} worker(s): {speed:.1f} frames/s")
    await models.unload(place.stack, f"detector.{TENANT}")
    return runs


async def _screen(place: Place, batch: str, workers: int) -> float:
    settings = {"ROADLOOP_FRAMES_AT_ONCE": str(FRAMES_AT_ONCE)}
    async with AsyncExitStack() as open_ones:
        reader = await open_ones.enter_async_context(verdicts.watch(place.stack))
        for member in range(workers):
            await open_ones.enter_async_context(worker.run_worker(place.stack, member, settings))
        frame_ids = await units.write(place.stack, TENANT, batch, FRAMES_OF_ONE * workers, place.objects)
        collected = await verdicts.collect(reader, len(frame_ids))
    collected.check(frame_ids)
    seconds, count = collected.seconds(*STEADY)
    return count / seconds


def compare_workers(runs: list[dict[str, Any]]) -> float:
    """Return the median of the rounds' ratios of two workers to one."""
    of = {(run["workers"], run["round"]): run["frames_per_s"] for run in runs}
    return float(median(of[2, turn] / of[1, turn] for _, turn in of))
