"""Whether a worker stays as it is: memory and time over many frames, with a model that answers at once."""

from typing import Any

from loop.turns import Report
from screening import models, processes, units, verdicts, worker
from screening.speed import Place

TENANT = "lasting"
SAMPLES = 200


async def measure(place: Place, frames: int, report: Report) -> dict[str, Any]:
    """Screen a tenth of the frames, all of them, and a tenth again; return the times, and the memory along the way.

    A tenth before and one after, for a shared machine does not run as fast in one quarter of an hour as in the next.
    """
    await models.bring_stub(place.stack, TENANT, pause_ms=0, instances=1, batch=16)
    place.take()
    before = await _screen(place, "lasting.before", frames // 10, report)
    large = await _screen(place, "lasting.large", frames, report)
    after = await _screen(place, "lasting.after", frames // 10, report)
    await models.unload(place.stack, f"detector.{TENANT}")
    return {"before": before, "large": large, "after": after}


def compare_ten_times(lasted: dict[str, Any]) -> float:
    """Return what ten times the frames took, in ten times what a tenth took before and after them."""
    return float(lasted["large"]["seconds"] / (lasted["before"]["seconds"] + lasted["after"]["seconds"]) / 5)


async def _screen(place: Place, batch: str, frames: int, report: Report) -> dict[str, Any]:
    async with verdicts.watch(place.stack) as reader:
        frame_ids = await units.write(place.stack, TENANT, batch, frames, place.objects)
        async with worker.run_worker(place.stack) as pid:
            running = place.processes(worker=pid)
            began = processes.measure_cpu_s(running)
            memory: list[tuple[int, float]] = []

            def note(count: int) -> None:
                if not memory or count - memory[-1][0] >= len(frame_ids) / SAMPLES:
                    memory.append((count, processes.measure_rss_mib(pid)))

            collected = await verdicts.collect(reader, len(frame_ids), note)
            ended = processes.measure_cpu_s(running)
    collected.check(frame_ids)
    seconds, count = collected.seconds(0.0, 1.0)
    used = {name: (ended[name] - began[name]) / len(frame_ids) * 1000 for name in running}
    report(
        f"{len(frame_ids)} frames: {count / seconds:.0f} frames/s, memory {memory[0][1]:.0f} to {memory[-1][1]:.0f} MiB"
    )
    return {
        "frames": len(frame_ids),
        "seconds": seconds * len(frame_ids) / count,
        "frames_per_s": count / seconds,
        "cpu_ms_per_frame": used,
        "rss_mib": memory,
    }


def measure_growth_mib(memory: list[tuple[int, float]]) -> float:
    """Return the mean of the last tenth of the samples above that of the second tenth; the first one warms up."""
    tenth = max(1, len(memory) // 10)
    second, last = memory[tenth : 2 * tenth], memory[-tenth:]
    return sum(mib for _, mib in last) / len(last) - sum(mib for _, mib in second) / len(second)
