"""Pictures asked about at the same moment share a request, and nobody answers for another's picture."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_runtime.outcome import Transient
from screen.inference.predict import RefusedByModel
from screen.inference.request_batcher import AT_MOST, LARGE_BYTES, BatchKey, RequestBatcher
from screen.rollout import model_repository
from screen.vision.detections import Box, Prediction

CAR = BatchKey("detector.acme", 1, 1)
LATER = CAR._replace(priority=2)


def look(picture: bytes) -> Prediction:
    return Prediction((Box(0, 0, 1, 1, 0.5, picture.hex()[:16]),), b"")


class Server:
    """Answers requests, notes them, and refuses those with a bad picture; an old one refuses all of more than one."""

    def __init__(self, bad: Sequence[bytes] = (), *, old: bool = False, away: bool = False) -> None:
        self.requests: list[tuple[BatchKey, Sequence[bytes]]] = []
        self._bad, self._old, self._away = bad, old, away

    async def infer(self, asked: BatchKey, pictures: Sequence[bytes]) -> list[Prediction]:
        self.requests.append((asked, pictures))
        await asyncio.sleep(0)
        if self._away:
            raise Transient("triton", "away")
        if any(picture in self._bad for picture in pictures) or (self._old and len(pictures) > 1):
            raise RefusedByModel("bad picture")
        return [look(picture) for picture in pictures]


def test_a_request_has_no_more_pictures_than_the_server_takes() -> None:
    assert json.loads(model_repository.read_template("config.json"))["max_batch_size"] == AT_MOST


async def ask(server: Server, pictures: Sequence[bytes]) -> list[Prediction | BaseException]:
    return await ask_by(RequestBatcher(server.infer), pictures)


async def ask_by(batcher: RequestBatcher, pictures: Sequence[bytes]) -> list[Prediction | BaseException]:
    asked = (detect(batcher, picture) for picture in pictures)
    return list(await asyncio.gather(*asked, return_exceptions=True))


async def detect(batcher: RequestBatcher, picture: bytes, *, backfill: bool = False) -> Prediction:
    return await batcher.detect(CAR.model, CAR.version, picture, backfill=backfill)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.booleans()), min_size=1, max_size=12))
def test_every_picture_has_its_own_answer(pictures: list[tuple[bytes, bool]]) -> None:
    bad = [picture for picture, is_bad in pictures if is_bad]
    server = Server(bad)
    answers = asyncio.run(ask(server, [picture for picture, _ in pictures]))
    for (picture, _), answer in zip(pictures, answers, strict=True):
        assert isinstance(answer, RefusedByModel) if picture in bad else answer == look(picture)
    assert max(len(asked) for _, asked in server.requests) <= AT_MOST


async def test_what_is_asked_at_once_goes_together_and_what_is_large_goes_alone() -> None:
    server, large = Server(), bytes(LARGE_BYTES + 1)
    await ask(server, [b"1", b"2", large, b"3", b"4", b"5"])
    assert sorted(len(pictures) for _, pictures in server.requests) == [1, 1, 4]


async def test_live_pictures_and_others_do_not_share_a_request() -> None:
    server = Server()
    together = RequestBatcher(server.infer)
    await asyncio.gather(
        detect(together, b"1"),
        detect(together, b"2", backfill=True),
        detect(together, b"3"),
    )
    assert sorted(server.requests) == [(CAR, [b"1", b"3"]), (LATER, [b"2"])]


async def test_an_outage_is_everybodys_and_asked_once() -> None:
    server = Server(away=True)
    answers = await ask(server, [b"1", b"2"])
    assert [type(answer) for answer in answers] == [Transient, Transient]
    assert len(server.requests) == 1


async def test_a_version_that_takes_one_picture_is_given_one_from_then_on() -> None:
    server = Server(old=True)
    together = RequestBatcher(server.infer)
    for _ in range(2):
        assert await ask_by(together, [b"1", b"2"]) == [look(b"1"), look(b"2")]
    assert [len(pictures) for _, pictures in server.requests] == [2, 1, 1, 1, 1]


async def test_a_picture_nobody_waits_for_any_more_takes_nobody_with_it() -> None:
    server = Server()
    together = RequestBatcher(server.infer)
    first, second = (asyncio.ensure_future(detect(together, one)) for one in (b"1", b"2"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == look(b"2")
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_closing_gives_up_what_is_under_way() -> None:
    async def infer(asked: BatchKey, pictures: Sequence[bytes]) -> list[Prediction]:
        await asyncio.Event().wait()
        raise AssertionError

    together = RequestBatcher(infer)
    waits = asyncio.ensure_future(detect(together, b"1"))
    for _ in range(3):
        await asyncio.sleep(0)
    await together.close()
    with pytest.raises(asyncio.CancelledError):
        await waits
