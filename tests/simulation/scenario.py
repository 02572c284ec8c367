"""What a seed stands for: how many records, which settlement, which faults when. Plain data, so it can be shrunk."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Literal

WORKERS = ("a", "b", "c")
RECORDS = 200
FAULTS_WITHIN_S = 5.0


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: `at_s` after the start, on a worker or a server, for a while, with a number more."""

    at_s: float
    kind: str
    whom: str = ""
    for_s: float = 0.0
    number: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """Everything that decides a run. The same scenario runs the same, down to each callback."""

    seed: int
    settle: Literal["kafka", "postgres"]
    records: int
    faults: tuple[Fault, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Scenario":
        """Read back what `to_json` wrote."""
        read = json.loads(text)
        return cls(**{**read, "faults": tuple(Fault(**fault) for fault in read["faults"])})

    def without(self, number: int) -> "Scenario":
        return replace(self, faults=self.faults[:number] + self.faults[number + 1 :])


def _worker(dice: Random) -> str:
    return dice.choice(WORKERS)


def _kill(dice: Random, at_s: float, settle: str) -> Fault:
    """Death at one of the next callbacks: any await point."""
    return Fault(at_s, "kill", _worker(dice), for_s=dice.choice((0.1, 0.5, 3.0)), number=dice.randint(1, 60))


def _freeze(dice: Random, at_s: float, settle: str) -> Fault:
    """Now and then shorter than the session, mostly longer: a zombie."""
    return Fault(at_s, "freeze", _worker(dice), for_s=dice.choice((0.3, 2.3, 2.6, 3.5)))


def _terminate(dice: Random, at_s: float, settle: str) -> Fault:
    return Fault(at_s, "terminate", _worker(dice), for_s=dice.choice((0.05, 0.5, 3.0)))


def _twin(dice: Random, at_s: float, settle: str) -> Fault:
    return Fault(at_s, "twin", _worker(dice))


def _rebalance(dice: Random, at_s: float, settle: str) -> Fault:
    return Fault(at_s, "rebalance", for_s=dice.choice((0.07, 0.12, 0.4)), number=dice.randint(1, 4))


def _outage(dice: Random, at_s: float, settle: str) -> Fault:
    server = "kafka" if settle == "kafka" else dice.choice(("kafka", "postgres"))
    return Fault(at_s, "outage", server, for_s=dice.choice((0.1, 0.4, 1.2)))


def _lossy(dice: Random, at_s: float, settle: str) -> Fault:
    """Requests and answers get lost: also the answer to a commit."""
    server = "kafka" if settle == "kafka" else dice.choice(("kafka", "postgres"))
    return Fault(at_s, "lossy", server, for_s=dice.choice((0.3, 1.0, 2.0)), number=dice.choice((0.1, 0.3, 0.6)))


def _refuse(dice: Random, at_s: float, settle: str) -> Fault:
    """A topic takes no write, or only some."""
    topic = dice.choice(("out.v1", "memory.v1"))
    return Fault(at_s, "refuse", topic, for_s=dice.choice((0.1, 0.5, 1.5)), number=dice.choice((0.5, 1.0)))


def _store(dice: Random, at_s: float, settle: str) -> Fault:
    return Fault(at_s, "store", for_s=dice.choice((0.2, 1.0)))


def _tidy(dice: Random, at_s: float, settle: str) -> Fault:
    """Compaction of the memory, and retention up to what is committed."""
    return Fault(at_s, "tidy")


def _cut(dice: Random, at_s: float, settle: str) -> Fault:
    """The outbox publisher's connection is cut, a few times in a row."""
    return Fault(at_s, "cut" if settle == "postgres" else "rebalance", number=dice.randint(1, 4))


def _in_a_rebalance(dice: Random, at_s: float, settle: str) -> tuple[Fault, ...]:
    """Something else goes wrong while partitions are on their way."""
    other = dice.choice((_kill, _terminate, _terminate, _twin, _freeze, _cut))
    rebalance = replace(_rebalance(dice, at_s, settle), for_s=0.12)
    return (rebalance, other(dice, round(at_s + 0.3 * dice.random(), 3), settle))


def _slow_start(dice: Random, at_s: float, settle: str) -> tuple[Fault, ...]:
    """Partitions move on before their first take-over has ended, in a group that never committed anything."""
    moves = tuple(Fault(round(0.3 + 0.6 * n + 0.3 * dice.random(), 3), "rebalance", number=1) for n in range(4))
    return (Fault(0.01, "lossy", "kafka", for_s=3.0, number=dice.choice((0.4, 0.6, 0.75))), *moves)


Kind = Callable[[Random, float, str], Fault | tuple[Fault, ...]]
KINDS: tuple[tuple[Kind, int], ...] = (
    (_kill, 6),
    (_freeze, 5),
    (_terminate, 3),
    (_twin, 2),
    (_rebalance, 3),
    (_in_a_rebalance, 3),
    (_slow_start, 2),
    (_outage, 2),
    (_lossy, 4),
    (_refuse, 2),
    (_store, 1),
    (_tidy, 2),
    (_cut, 3),
)


def draw(seed: int, records: int = RECORDS) -> Scenario:
    """Draw a scenario of at least two faults."""
    dice = Random(f"scenario {seed}")
    settle: Literal["kafka", "postgres"] = "kafka" if seed % 2 == 0 else "postgres"
    chosen = dice.choices(
        [kind for kind, _ in KINDS], [weight for _, weight in KINDS], k=dice.choice((2, 2, 3, 3, 4, 6))
    )
    # in bursts: what goes wrong while something else goes wrong finds more
    burst = dice.random() * dice.choice((0.4, FAULTS_WITHIN_S))
    faults: list[Fault] = []
    for kind in chosen:
        at_s = burst + dice.random() if dice.random() < 0.5 else dice.random() * FAULTS_WITHIN_S
        drawn = kind(dice, round(at_s, 3), settle)
        faults += [drawn] if isinstance(drawn, Fault) else drawn
    return Scenario(seed, settle, records, tuple(sorted(faults, key=lambda fault: fault.at_s)))
