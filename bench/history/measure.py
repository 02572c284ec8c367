"""Judge a million frames of history anew, and see that today's verdicts come out and memory stays flat.

The frames are drawn and judged by the product's own code, so that their record is what a worker would have written;
they lie in Iceberg on a real S3 store, with the catalogue in Postgres, as the sink writes and tidies them.
"""

import asyncio
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from loop.turns import Report
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.servers.all_servers import SERVERS
from roadloop_runtime.kafka.admin import ensure_topics
from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import Verdict
from roadloop_schemas.policies import ScreenPolicy
from screen.commands.what_if import Question, ask
from screen.decision.decide_frame import Decision
from screen.decision.facts import Facts
from screen.decision.frame_keys import FrameKeys
from screen.decision.screen_frame import judge
from screen.decision.thresholds import SliceThreshold
from screen.history.maintenance import tidy
from screen.history.rows import MEASURED
from screen.history.table import History, Place
from screen.memory.state import Memory
from screen.what_if.rejudge import change_policy

PARTITIONS, AT_ONCE = 6, 20_000
TENANT, NOW = "acme", datetime(2026, 3, 2, tzinfo=UTC)
POLICY = ScreenPolicy(
    version=1,
    threshold=0.5,
    controlled=True,
    shared=True,
    slice_range=(0.02, 0.7),
    blur_ratio=0.15,
    duplicate_distance=4,
    duplicate_step=0.6,
)
LIMIT_S, FRAMES = 30.0, 1_000_000
PROCESSES = 2
PARTS = (
    "uncertainty",
    "disagreement",
    "crowd",
    "unusual",
    "novelty",
    "low_top_score",
    "objects",
    "overlap",
    "inconsistency",
)


@dataclass(frozen=True)
class QuestionRun:
    """One question: how many frames, how long it took, and the most memory a process of it had, in MiB."""

    frames: int
    seconds: float
    rss_mib: float
    differing: int


def measure(options: Namespace, report: Report) -> dict[str, Any]:
    """Ask a tenth of the frames, and all of them, what they would be today."""
    with TemporaryDirectory(dir=Path.home(), prefix="history-") as folder:
        stack = local.up(Path(folder) / "stack", SERVERS)
        try:
            asyncio.run(ensure_topics(stack.kafka_bootstrap))
            runs = [_fill_and_ask(stack, frames, report) for frames in (FRAMES // 10, FRAMES)]
        finally:
            local.down(stack.data, purge=True)
    small, large = runs
    return {
        "figures": {"seconds": large.seconds, "rss_mib": large.rss_mib, "differing": large.differing},
        "ratio": {
            "limit": round(large.seconds / LIMIT_S, 3),
            "memory_of_ten_times_the_frames": round(large.rss_mib / small.rss_mib, 3),
        },
        "runs": [vars(run) for run in runs],
    }


def make_table(result: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    lines = ["| frames | s | most MiB of a process | verdicts that differ |", "|---:|---:|---:|---:|"]
    lines += [
        f"| {r['frames']:,} | {r['seconds']:.1f} | {r['rss_mib']:.0f} | {r['differing']} |" for r in result["runs"]
    ]
    return "\n".join([*lines, "", f"of the limit of {LIMIT_S:.0f} s: {result['ratio']['limit']}"])


def _fill_and_ask(stack: Stack, frames: int, report: Report) -> QuestionRun:
    place = Place(
        stack.postgres_dsn("screen"),
        f"s3://history/{frames}",
        stack.s3_endpoint,
        *stack.s3_keys("screen-history"),
    )
    history = History(place, f"screen{frames}")
    history.add_policies({(TENANT, POLICY.version): POLICY})
    offsets: dict[int, int] = {}
    streams = [_draw_rows(partition) for partition in range(PARTITIONS)]
    for start in range(0, frames, AT_ONCE):
        size = min(AT_ONCE, frames - start) // PARTITIONS + 1
        rows = [next(stream) for stream in streams for _ in range(size)][: frames - start]
        offsets |= {row["partition"]: row["offset"] + 1 for row in rows}
        history.append(rows, offsets)
    tidy(history, NOW)
    report(f"{frames} frames are in history")
    question = Question(
        place=place,
        tenant=TENANT,
        since=NOW - timedelta(days=1),
        change=partial(change_policy, quotas={}),
        namespace=history.namespace,
    )
    most_memory = _MostMemory()
    with most_memory:
        began = time.monotonic()
        answer = ask(stack.kafka_bootstrap, question, PROCESSES)
        seconds = time.monotonic() - began
    if answer.judged < frames:
        raise AssertionError(f"{answer.judged} of {frames} frames came out of history")
    return QuestionRun(answer.judged, round(seconds, 2), round(most_memory.mib, 1), answer.differing)


def _draw_rows(partition: int) -> Iterator[dict[str, Any]]:
    """Yield one partition's drawn frames as rows, judged one after the other."""
    dice, memory = Random(partition), Memory()
    for offset in count():
        facts = _draw_facts(f"f-{partition}-{offset}", dice)
        memory, decision, threshold = judge(memory, facts, POLICY)
        yield {
            "partition": partition,
            "offset": offset,
            **_describe_frame(facts),
            **_describe_verdict(decision, threshold),
        }


def _describe_frame(facts: Facts) -> dict[str, Any]:
    measured = {name: getattr(facts, name) for name in MEASURED if name not in {"echo", "versions"}}
    return {
        **dict.fromkeys(("unit_id", "upload_id", "object_uri", "detail"), ""),
        **measured,
        "event_id": facts.frame_id,
        "tenant": TENANT,
        "frame_id": facts.frame_id,
        "vehicle": facts.keys.vehicle,
        "drive": facts.keys.drive,
        "captured_at": NOW,
        "received_at": NOW,
        "slice": f"{facts.keys.condition}/{facts.keys.camera}",
        "condition": facts.keys.condition.value,
        "score_parts": list(facts.parts.items()),
        "replayed": False,
        "model_version": 2,
        "versions": list(facts.keys.versions),
    }


def _describe_verdict(decision: Decision, threshold: SliceThreshold) -> dict[str, Any]:
    return {
        "verdict": decision.verdict.value,
        "reasons": [reason.value for reason in decision.reasons],
        "rules": list(decision.rules),
        "policy_version": POLICY.version,
        "threshold": threshold.value,
        "score": decision.score,
        "audit": decision.audit,
        "inclusion_probability": 1.0,
        "echo": decision.echo,
        "claims": [_CLAIM] * 3 if decision.verdict is Verdict.KEPT else [],
    }


_CLAIM = {"x1": 0.1, "y1": 0.1, "x2": 0.2, "y2": 0.2, "score": 0.9, "class_name": "car"}


def _draw_facts(frame_id: str, dice: Random) -> Facts:
    condition = dice.choices((Condition.CLEAR, Condition.RAIN, Condition.NIGHT), (8, 1, 1))[0]
    keys = FrameKeys(
        *(TENANT, f"car-{dice.randrange(20)}", dice.choice(("front", "rear")), condition, "d-1"), versions=(2, 1)
    )
    hardness = {Condition.CLEAR: 2, Condition.RAIN: 3, Condition.NIGHT: 5}[condition]
    parts = {name: round(dice.betavariate(hardness, 6), 6) for name in PARTS}
    bits, step = dice.randrange(30), round(dice.expovariate(1), 4)
    return Facts(frame_id, keys, dice.random(), 0.5, dice.uniform(50, 150), parts, bits, step, 0.2)


class _MostMemory:
    """The most memory that any child process had while this was open, in MiB; asked ten times a second."""

    def __init__(self) -> None:
        self.mib = 0.0
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._keep_watching, daemon=True)

    def __enter__(self) -> None:
        self._watch.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()

    def _keep_watching(self) -> None:
        while not self._ended.wait(0.1):
            for child in psutil.Process().children(recursive=True):
                try:
                    if "multiprocessing" in " ".join(child.cmdline()):
                        self.mib = max(self.mib, child.memory_info().rss / 2**20)
                except psutil.Error:
                    continue
