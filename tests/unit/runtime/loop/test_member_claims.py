"""Of two processes with one member id one ends: who claimed and started later stays. No clock keeps anybody out."""

from dataclasses import dataclass
from typing import Any

import pytest

from roadloop_runtime.loop.identity import Identity, Superseded
from roadloop_runtime.loop.member_claims import Claim
from tests.builders import make_record

AN_HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000


@dataclass
class Broker:
    """A log of claims, of which followers see the newest."""

    values: list[int]

    async def read(self, _partition: Any) -> list[Any]:
        return [make_record(key=b"g/m", value=str(value).encode()) for value in self.values]

    async def follow(self, _topic: str, take: Any) -> None:
        for record in (await self.read(None))[-1:]:
            await take(record)


@pytest.mark.parametrize(
    ("log", "superseded"),
    [
        pytest.param([NOW_MS], False, id="mine alone"),
        pytest.param([NOW_MS - 1, NOW_MS], False, id="after one of before"),
        pytest.param([NOW_MS + AN_HOUR_MS, NOW_MS], False, id="after one by a clock that was an hour ahead"),
        pytest.param([NOW_MS, NOW_MS + 1], True, id="before one that started later"),
        pytest.param([NOW_MS, NOW_MS - 1], False, id="before one that a process wrote that died meanwhile"),
    ],
)
async def test_whose_claim_counts(log: list[int], superseded: bool) -> None:
    claim = Claim(Broker(log), "g", Identity("m", NOW_MS))  # type: ignore[arg-type]
    assert await claim.is_superseded() == superseded
    if superseded:
        with pytest.raises(Superseded, match="another process has claimed my member id m in g"):
            await claim.watch()
    else:
        await claim.watch()
