"""Known defects, planted one at a time: each must be caught, or the simulator has a hole.

The letters are those of the defects measured in other consumers; the rest are mistakes this loop could have made.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
RUNTIME = Path("services/runtime/src/roadloop_runtime")
SIMULATION = Path("tests/simulation")
PARTITION_TASK, LOOP, RETRY = (RUNTIME / "loop" / f"{name}.py" for name in ("partition_task", "loop", "retry"))
KAFKA, POSTGRES = (RUNTIME / "settlement" / f"{name}_settlement.py" for name in ("kafka", "postgres"))
OUTBOX = RUNTIME / "outbox" / "publisher.py"
FAILS_AFTER_S = 3600  # a guard against a hang


class Patch(NamedTuple):
    """Text that must be in a file, and what stands there instead."""

    file: Path
    old: str
    new: str


class Mutation(NamedTuple):
    """One planted defect."""

    name: str
    patches: tuple[Patch, ...]


class Caught(NamedTuple):
    """The first seed that caught a defect, None where none did, and how it showed."""

    mutation: Mutation
    seed: int | None
    problem: str


def _one(name: str, file: Path, old: str, new: str) -> Mutation:
    return Mutation(name, (Patch(file, old, new),))


READY = "        for record, observation in self._waiting.pop_ready(self._limits.batch - len(self._kinds)):\n"
UNDONE = "self._waiting and (task := self._waiting._fifo[0].task) and not task.done()"
TRANSACT = """        await writer.transact(batch.events, {batch.partition: batch.next_offset}, self._kafka.group)
"""
FENCE = """        self._writers[partition] = await self._kafka.broker.fence(transactional_id)
        return Settled(await self._kafka.committed(partition))
"""
OFFSET_ID = 'f"{self._kafka.group}.{partition.topic}.{partition.partition}"'

ALL = (
    _one(
        "A: commit one past the unfinished head",
        PARTITION_TASK,
        "memory, offset = self._memory, self._next or 0",
        "memory, offset = self._memory, self._waiting._fifo[0].record.offset + 1 if self._waiting else self._next or 0",
    ),
    _one(
        "B: no head check where nothing was committed yet",
        PARTITION_TASK,
        READY,
        f"        while self._settled is None and {UNDONE}:\n            self._waiting._fifo.popleft()\n" + READY,
    ),
    Mutation(
        "C: the gap behind a marker swallows what is in flight",
        (
            Patch(LOOP, "if partition_task.open and partition_task.in_flight == 0:", "if partition_task.open:"),
            Patch(LOOP, "        if not polled and self.turned_at - self._looked_at >= POLL_S:", "        if True:"),
            Patch(
                PARTITION_TASK,
                "if self.open and not self._waiting and not self._kinds and position",
                "if self.open and position",
            ),
        ),
    ),
    _one(
        "D: an exception in decide is acknowledged",
        PARTITION_TASK,
        "            self._give_up(record, blame_handler(error))\n            return\n        if isinstance(outcome",
        "            self._take(record, Emit, ())\n            return\n        if isinstance(outcome",
    ),
    _one(
        "E: an exception in observe acknowledges all that waits",
        PARTITION_TASK,
        "            self._decide(record, observation)\n",
        "            if isinstance(observation, DeadLetter) and self._waiting:\n"
        "                record = self._waiting._fifo[-1].record\n                self._waiting._fifo.clear()\n"
        "            self._decide(record, observation)\n            if not self._waiting:\n                return\n",
    ),
    _one(
        "F: one failed batch and the commit never moves again",
        PARTITION_TASK,
        "        except Aborted as error:\n",
        "        except Aborted as error:\n            await asyncio.Event().wait()\n",
    ),
    Mutation(
        "G: what is cancelled at a stop counts as done",
        (
            Patch(
                PARTITION_TASK,
                "        self._draining = True\n",
                "        self._draining = True\n        [p.task and p.task.cancel() for p in self._waiting._fifo]\n",
            ),
            Patch(RETRY, "        if _is_cancelled_from_outside(error):\n            raise\n", ""),
        ),
    ),
    _one(
        "H: a stop commits what is in flight",
        PARTITION_TASK,
        "        self._draining = True\n",
        "        self._draining = True\n        if self._waiting._fifo:\n"
        "            self._next = self._waiting._fifo[-1].record.offset + 1\n            self._waiting._fifo.clear()\n",
    ),
    _one(
        "I: a malformed record is acknowledged before its turn",
        PARTITION_TASK,
        "        self._waiting.add(records, self._clock())\n",
        "        self._waiting.add(records, self._clock())\n        for pending in self._waiting._fifo:\n"
        "            if pending.dead_letter:\n                self._give_up(pending.record, pending.dead_letter)\n",
    ),
    _one(
        "J: acknowledged when handed out, not when done",
        PARTITION_TASK,
        READY,
        f"        while {UNDONE}:\n            self._take(self._waiting._fifo.popleft().record, Emit, ())\n" + READY,
    ),
    _one(
        "K: a failed delivery does not stop the commit",
        KAFKA,
        TRANSACT,
        "        try:\n    " + TRANSACT + "        except Aborted:\n"
        "            await self._kafka.commit({batch.partition: batch.next_offset})\n",
    ),
    _one(
        "L: the memory's changes are left out",
        PARTITION_TASK,
        "(*self._events, *changed)",
        "(*self._events, *(() if len(kinds) == 1 else changed))",
    ),
    _one(
        "M: a failed settle moves on as if it had worked",
        PARTITION_TASK,
        "        await self._settlement.settle(batch)\n",
        "        try:\n            await self._settlement.settle(batch)\n        except Aborted:\n            pass\n",
    ),
    _one(
        "the committed offset is read before the fence",
        KAFKA,
        FENCE,
        "        offset = await self._kafka.committed(partition)\n"
        + FENCE.replace("await self._kafka.committed(partition)", "offset"),
    ),
    _one(
        "no seek at a take-over",
        PARTITION_TASK,
        "        self._kafka.seek(self.partition, self._log.start if offset is None else offset)\n",
        "        if offset is None:\n            self._kafka.seek(self.partition, self._log.start)\n",
    ),
    _one(
        "no drain on revoke: partitions go on being worked on",
        LOOP,
        "        self._kafka.pause(partitions)\n        await self._end_partition_tasks(partitions)\n",
        "        self._kafka.pause(partitions)\n",
    ),
    _one(
        "fencing is swallowed",
        PARTITION_TASK,
        "        await self._settlement.settle(batch)\n",
        "        from roadloop_runtime.broker import Fenced\n"
        "        try:\n            await self._settlement.settle(batch)\n        except Fenced:\n            pass\n",
    ),
    _one(
        "dead letters are written outside of the transaction",
        KAFKA,
        TRANSACT,
        "        for item in batch.events:\n            if item.topic.startswith('dlq.'):\n"
        "                await self._kafka.broker.write(item)\n"
        + TRANSACT.replace("batch.events", "[e for e in batch.events if not e.topic.startswith('dlq.')]"),
    ),
    _one(
        "memory is kept after an abort",
        PARTITION_TASK,
        "        if self._kept is not None and self._kept.offset == offset:\n",
        "        if self._remembers:\n            memory = self._memory\n"
        "        elif self._kept is not None and self._kept.offset == offset:\n",
    ),
    _one(
        "a returning owner keeps its memory whatever the offset",
        PARTITION_TASK,
        "self._kept is not None and self._kept.offset == offset",
        "self._kept is not None",
    ),
    _one(
        "no memory is taken for an empty one",
        PARTITION_TASK,
        " if self._remembers else None",
        "",
    ),
    _one(
        "the outbox publishes by the highest id",
        SIMULATION / "servers" / "database.py",
        "            self.rows[id].number = last + nth\n",
        "            self.rows[id].number = id\n",
    ),
    _one(
        "the row is stored after its event is out",
        POSTGRES,
        "        await self._offsets.settle(self._kafka.group, epoch, batch)\n",
        "        for item in batch.events:\n            await self._kafka.broker.write(item)\n"
        "        await self._offsets.settle(self._kafka.group, epoch, batch._replace(events=()) "
        "if hasattr(batch, '_replace') else __import__('dataclasses').replace(batch, events=()))\n",
    ),
    _one(
        "one transactional id for all partitions of a worker",
        KAFKA,
        OFFSET_ID,
        'f"{self._kafka.group}.{id(self)}.{partition.topic}.{partition.partition}"',
    ),
    _one(
        "a retry sends twice",
        KAFKA,
        TRANSACT,
        "        try:\n    " + TRANSACT + "        except Aborted:\n    " + TRANSACT,
    ),
    _one(
        "the offset of the record itself is committed",
        PARTITION_TASK,
        "        self._next = record.offset + 1\n",
        "        self._next = record.offset\n",
    ),
    _one(
        "the position behind markers is not committed",
        PARTITION_TASK,
        "            self._next = position\n",
        "            pass\n",
    ),
    _one(
        "an outage is the record's fault",
        RETRY,
        "        failures += not outage\n",
        "        failures += 1\n",
    ),
    _one(
        "a lost inner task ends the partition task unseen",
        RETRY,
        "        if _is_cancelled_from_outside(error):\n",
        "        if isinstance(error, asyncio.CancelledError):\n",
    ),
    _one(
        "an aborted settle swallows a cancellation",
        PARTITION_TASK,
        "            go_if_cancelled()\n",
        "",
    ),
    _one(
        "a partition task that ends swallows its canceller's cancellation",
        LOOP,
        "        if tasks:\n            await asyncio.wait(tasks, timeout=self._limits.drain_s)\n",
        "        if tasks:\n            try:\n                await asyncio.wait(tasks, timeout=self._limits.drain_s)\n"
        "            except asyncio.CancelledError:\n                pass\n",
    ),
    _one(
        "a partition that comes while the loop leaves begins a partition task",
        LOOP,
        "        if self._leaving:  # a partition task begun now would never end\n            return\n",
        "",
    ),
    _one(
        "a claim counts that a process wrote which died meanwhile",
        RUNTIME / "loop" / "member_claims.py",
        'return int(record.value or b"0") > self.me.started_at_ms',
        'return int(record.value or b"0") != self.me.started_at_ms',
    ),
    _one(
        "the outbox publishes without its position",
        OUTBOX,
        "[*(row.event for row in numbered_rows), mark]",
        "[*(row.event for row in numbered_rows)]",
    ),
    _one(
        "the outbox reads its position before it fences",
        OUTBOX,
        """    writer = await broker.fence(f"{service}.outbox")
    try:
        position = await read_position(broker, service)
""",
        """    position = await read_position(broker, service)
    writer = await broker.fence(f"{service}.outbox")
    try:
""",
    ),
    _one(
        "the copy of the offset in Kafka is read back",
        POSTGRES,
        "        if owned.next_offset is not None:\n            await self._copy(partition, owned.next_offset)\n"
        "        return Settled(owned.next_offset, owned.topic_id)\n",
        "        return Settled(await self._kafka.committed(partition) or owned.next_offset, owned.topic_id)\n",
    ),
    _one(
        "a full partition_task is polled for all the same",
        PARTITION_TASK,
        "        return limits.in_flight - in_flight if in_flight <= limits.in_flight // 2 else 0\n",
        "        return limits.in_flight\n",
    ),
)

# Before Python 3.11.3 a timeout in a task that was cancelled already raises CancelledError: nothing is swallowed there.
NOT_HERE = {"an aborted settle swallows a cancellation"} if sys.version_info < (3, 11, 3) else set[str]()
SHOWN_HERE = tuple(mutation for mutation in ALL if mutation.name not in NOT_HERE)


def catch(mutation: Mutation, most: int) -> Caught:
    """Plant one defect in a copy of the code and run seeds until one fails."""
    with tempfile.TemporaryDirectory() as folder:
        plant(mutation, Path(folder))
        paths = os.pathsep.join((str(Path(folder) / RUNTIME.parent), folder))
        env = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "0"}
        program = [sys.executable, "-W", "ignore", "-m", "tests.simulation", "first-failure", str(most)]
        said = subprocess.run(
            program, cwd=folder, env=env, capture_output=True, text=True, timeout=FAILS_AFTER_S, check=False
        )
    if said.returncode:
        raise RuntimeError(f"{mutation.name}: {said.stderr[-2000:]}")
    seed, _, problem = said.stdout.strip().partition(" ")
    return Caught(mutation, int(seed) if seed else None, problem)


def plant(mutation: Mutation, folder: Path) -> None:
    """Copy the code into a folder and patch it; raises where the text to patch is not there exactly once."""
    shutil.copytree(REPOSITORY / RUNTIME, folder / RUNTIME)
    shutil.copytree(REPOSITORY / SIMULATION, folder / SIMULATION)
    shutil.copy(REPOSITORY / "tests/__init__.py", folder / "tests/__init__.py")
    for patch in mutation.patches:
        file = folder / patch.file
        text = file.read_text()
        if text.count(patch.old) != 1:
            raise LookupError(f"{mutation.name}: {patch.file} has the text {text.count(patch.old)} times, not once")
        file.write_text(text.replace(patch.old, patch.new))


def catch_all(chosen: Sequence[Mutation], most: int) -> list[Caught]:
    """Plant defects one by one, as many at once as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda mutation: catch(mutation, most), chosen))


def as_table(caught: Sequence[Caught]) -> str:
    """Write what was caught, and how it showed, as Markdown."""
    rows = ["| planted defect | seeds until caught | how it showed |", "|---|---|---|"]
    for mutation, seed, problem in caught:
        shown = problem.replace("|", "/")[:110]
        rows.append(f"| {mutation.name} | {'not caught' if seed is None else seed + 1} | {shown} |")
    return "\n".join(rows)
