"""A transaction that fails says whether its owner must end, or take the partition over again."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import IllegalOperation, KafkaError, KafkaTimeoutError, ProducerFenced

from roadloop_runtime.broker import Aborted, Fenced
from roadloop_runtime.kafka.writer import KafkaWriter
from roadloop_runtime.records import Event, Partition

EVENT = Event("out.v1", b"k", b"v", (), 0)


class Batch:
    """Takes every record."""

    def append(self, **_record: Any) -> object:
        return object()

    def close(self) -> None:
        return


class Producer:
    """Fails in one step."""

    def __init__(self, step: str, error: Exception) -> None:
        self._step = step
        self._error = error

    def _reach(self, step: str) -> None:
        if step == self._step:
            raise self._error

    def create_batch(self) -> Batch:
        return Batch()

    async def begin_transaction(self) -> None:
        self._reach("begin")

    async def send_batch(self, *_batch: Any, partition: int) -> "asyncio.Future[None]":
        self._reach("send")
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        durable.set_result(None)
        return durable

    async def send_offsets_to_transaction(self, _offsets: Any, _group: str) -> None:
        self._reach("offsets")

    async def commit_transaction(self) -> None:
        self._reach("commit")


@pytest.mark.parametrize(
    ("step", "error", "expected"),
    [
        pytest.param("send", ProducerFenced(), Fenced, id="another-owner-is-there"),
        pytest.param("send", IllegalOperation("not in transaction"), Fenced, id="learnt-between-two-sends"),
        pytest.param("offsets", IllegalOperation("not in transaction"), Fenced, id="learnt-before-the-offsets"),
        pytest.param("commit", ProducerFenced(), Fenced, id="learnt-at-the-commit"),
        pytest.param("send", KafkaTimeoutError(), Aborted, id="the-client-gave-up"),
        pytest.param("commit", KafkaError("broker went away"), Aborted, id="nobody-knows-whether-it-was-committed"),
        pytest.param("commit", TimeoutError(), Aborted, id="no-answer-in-time"),
        pytest.param("begin", AssertionError("state"), AssertionError, id="what-is-left-ends-the-process"),
    ],
)
async def test_errors_come_out_as_three_kinds(step: str, error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        await KafkaWriter(Producer(step, error)).transact([EVENT], {Partition("in.v1", 0): 1}, "group")
