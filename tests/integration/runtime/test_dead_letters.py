"""`roadloop deadletters` on a real broker: count, show, and replay each letter once."""

import asyncio
import json
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import ProducerFenced
from typer.testing import CliRunner

from roadloop_local.addresses import Stack
from roadloop_runtime.commands import register
from roadloop_runtime.commands.dead_letters import CHOOSE
from roadloop_runtime.dead_letter import remove_our_headers, to_dead_letter
from roadloop_runtime.dead_letters.dead_letters import REPLAYS, Choice, Fate, Place, read_dead_letter, to_mark
from roadloop_runtime.dead_letters.read import read_replayed
from roadloop_runtime.dead_letters.replay import replay
from roadloop_runtime.kafka import Kafka, admin
from roadloop_runtime.kafka.reader import Isolation, open_reader, read_partition
from roadloop_runtime.outcome import DeadLetter, LoopReason
from roadloop_runtime.records import Event, Partition, Record
from tests.builders import make_record
from tests.integration.loop.conftest import Copying
from tests.waiting import GUARD_S, eventually

pytestmark = pytest.mark.integration
ISOLATIONS: tuple[Isolation, Isolation] = ("read_committed", "read_uncommitted")


def deadletters(*arguments: str) -> Any:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["deadletters", *arguments])


async def run(stack: Stack, *arguments: str) -> str:
    """Run the command; return what it said."""
    said = await asyncio.to_thread(deadletters, *arguments, "--kafka", stack.kafka_bootstrap)
    assert said.exit_code == 0, said.output
    return str(said.stdout)


async def make_replays_topic(stack: Stack) -> None:
    await admin.create_topics(stack.kafka_bootstrap, [admin.build_topics()[REPLAYS]])


async def records(stack: Stack, topic: str, partition: int = 0) -> list[Record]:
    """Return what is there, once every transaction that has ended is seen to have: its markers may come later."""

    async def is_settled() -> bool:
        stable, written = [await end_of(stack, topic, partition, isolation) for isolation in ISOLATIONS]
        return stable == written

    await eventually(f"the transactions on {topic} are settled", is_settled)
    return await stable_records(stack, topic, partition)


async def stable_records(stack: Stack, topic: str, partition: int = 0) -> list[Record]:
    """Return what is before the first transaction that is open."""
    return list(await read_partition(stack.kafka_bootstrap, Partition(topic, partition)))


async def end_of(stack: Stack, topic: str, partition: int, isolation: Isolation) -> int:
    tp = TopicPartition(topic, partition)
    async with open_reader(stack.kafka_bootstrap, isolation) as reader:
        return int((await reader.end_offsets([tp]))[tp])


async def counted(stack: Stack, topic: str) -> list[tuple[str, int, int]]:
    found = json.loads(await run(stack, "list", "--json"))["topics"]
    (reasons,) = [one["reasons"] for one in found if one["topic"] == topic]
    assert all(0 < one["first_at_ms"] <= one["last_at_ms"] for one in reasons)
    return [(one["reason"], one["letters"], one["replayed"]) for one in reasons]


async def copies_of(copying: Copying, count: int) -> None:
    async def there() -> bool:
        return await copying.has_copied(count)

    await eventually(f"{count} copies", there)


@pytest.mark.parametrize("copying", ["kafka"], indirect=True)
async def test_letters_are_counted_shown_replayed_once_and_die_again_as_new_letters(copying: Copying) -> None:
    stack, letters = copying.stack, copying.dead_letters
    await make_replays_topic(stack)
    process = copying.start("a")
    await copying.put_values(b"1", b"poison", b"not json", b"2")
    await copies_of(copying, 2)
    process.terminate()
    assert await asyncio.to_thread(process.wait, GUARD_S) == 0

    assert await counted(stack, letters) == [("handler_failed", 1, 0), ("undecodable", 1, 0)]
    shown = await run(stack, "show", letters, "0", "0")
    assert f"record   {copying.source}/0/1, given up by group {copying.name}" in shown
    assert "rule     must not be poison\nremedy   send JSON" in shown

    assert await run(stack, "replay", letters, "--all", "--dry-run") == (
        f"{letters}/0/0 -> {copying.source}/0 (undecodable)\n"
        f"{letters}/0/1 -> {copying.source}/0 (handler_failed)\n"
        "2 would be replayed\n"
    )
    assert len(await records(stack, copying.source)) == 4
    assert await run(stack, "replay", letters, "--reason", "undecodable") == "1 replayed\n"
    (replayed,) = (await records(stack, copying.source))[4:]
    assert (replayed.key, replayed.value) == (b"k", b"poison")
    assert tuple(replayed.headers) == (
        ("h", b"1"),
        ("nul\0name", b"2"),
        ("__dlq.replayed.from", f"{letters}/0/0".encode()),
    )

    before = "were replayed before (--again takes them too)"
    assert await run(stack, "replay", letters, "--all") == f"1 replayed, 1 {before}\n"
    assert await run(stack, "replay", letters, "--all") == f"0 replayed, 2 {before}\n"
    one = ("replay", letters, "--partition", "0", "--offset", "1")
    assert await run(stack, *one) == f"0 replayed, 1 {before}\n"
    assert await run(stack, *one, "--again") == "1 replayed\n"
    values = [record.value for record in await records(stack, copying.source)]
    assert values == [b"1", b"poison", b"not json", b"2", b"poison", b"not json", b"not json"]
    assert await counted(stack, letters) == [("handler_failed", 1, 1), ("undecodable", 1, 1)]

    copying.start("a", log="a-again")
    await copying.put_values(b"3")
    await copies_of(copying, 3)
    died_again = [read_dead_letter(record) for record in (await records(stack, letters))[2:]]
    assert [dead_letter.value for dead_letter in died_again] == [b"poison", b"not json", b"not json"]
    assert [remove_our_headers(dead_letter.headers) for dead_letter in died_again] == [
        (("h", b"1"), ("nul\0name", b"2"))
    ] * 3
    assert [name for name, _ in died_again[0].headers].count("__dlq.replayed.from") == 1
    assert died_again[0].explanation["offset"] == str(replayed.offset)
    assert await counted(stack, letters) == [("handler_failed", 3, 1), ("undecodable", 2, 1)]


class Mailbox:
    """A topic, its dead-letter topic and a topic of marks, of one test alone."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.name = f"letters-{uuid.uuid4().hex[:8]}"
        self.source = f"{self.name}.in.v1"
        self.letters = f"dlq.{self.name}.{self.source}"
        self.marks = f"{self.name}.marks.v1"

    async def make(self) -> None:
        topics = [NewTopic(self.source, 2, 1), NewTopic(self.letters, 2, 1), NewTopic(self.marks, 1, 1)]
        await admin.create_topics(self.stack.kafka_bootstrap, topics)

    async def put_letters(self, count: int) -> None:
        dead_letter = DeadLetter(LoopReason.UNDECODABLE, "no JSON")
        died = [self.died(number) for number in range(count)]
        writer = await Kafka(self.stack.kafka_bootstrap, "test").fence(self.name)
        await writer.transact([to_dead_letter(self.name, record, dead_letter) for record in died], {}, "")
        await writer.close()

    def died(self, number: int) -> Record:
        value, place = str(number).encode(), {"topic": self.source, "partition": number % 2, "offset": number}
        return make_record(value, key=None, headers=(("n", value),), **place)

    async def replay(self, choice: Choice | None = None) -> dict[Fate, int]:
        return dict(
            await replay(self.stack.kafka_bootstrap, self.letters, choice or Choice(), replays_topic=self.marks)
        )

    async def came_back(self) -> list[int]:
        read = [await records(self.stack, self.source, partition) for partition in range(2)]
        return [int(record.value or b"") for partition in read for record in partition]


@pytest.fixture
async def mailbox(stack: Stack) -> Mailbox:
    mailbox = Mailbox(stack)
    await mailbox.make()
    return mailbox


async def replay_in_a_process(mailbox: Mailbox) -> tuple[int, str]:
    """Run the command beside this process; return its exit code and its complaint."""
    program = str(Path(sys.executable).with_name("roadloop"))
    asked = ("deadletters", "replay", mailbox.letters, "--all", "--kafka", mailbox.stack.kafka_bootstrap)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(program, *asked, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(GUARD_S):
        _, complaint = await process.communicate()
    return process.returncode or 0, complaint.decode()


async def test_two_replays_at_once_and_one_after_them_write_each_letter_once(mailbox: Mailbox) -> None:
    await make_replays_topic(mailbox.stack)
    mailbox.marks = REPLAYS
    await mailbox.put_letters(3_000)
    ends = await asyncio.gather(*(replay_in_a_process(mailbox) for _ in range(2)))
    taken_over = (1, "another run of the same command took over: wait for it, then look again\n")
    assert all(end in ((0, ""), taken_over) for end in ends), ends
    last = await mailbox.replay()
    assert last.get(Fate.REPLAYED, 0) + last[Fate.REPLAYED_BEFORE] == 3_000
    expected = [*range(0, 3_000, 2), *range(1, 3_000, 2)]
    assert await mailbox.came_back() == expected, "each once, in order per partition"
    assert await mailbox.replay() == {Fate.REPLAYED_BEFORE: 3_000}


async def test_a_replay_that_was_cut_off_leaves_neither_a_record_nor_a_mark(mailbox: Mailbox) -> None:
    await mailbox.put_letters(3)
    (dead_letter, *_) = [read_dead_letter(record) for record in await records(mailbox.stack, mailbox.letters)]
    cut_off = AIOKafkaProducer(
        bootstrap_servers=mailbox.stack.kafka_bootstrap, transactional_id=f"roadloop.deadletters.{mailbox.letters}"
    )
    await cut_off.start()
    await cut_off.begin_transaction()
    marked = to_mark(dead_letter, mailbox.marks)
    await cut_off.send_and_wait(mailbox.source, dead_letter.value, None, 0)
    await cut_off.send_and_wait(mailbox.marks, marked.value, marked.key, 0)
    try:
        assert await mailbox.replay() == {Fate.REPLAYED: 3}
    finally:
        with suppress(ProducerFenced):
            await cut_off.stop()
    assert await mailbox.came_back() == [0, 2, 1]


async def test_marks_behind_an_open_transaction_of_another_topic_are_waited_for(mailbox: Mailbox) -> None:
    await mailbox.put_letters(1)
    bootstrap = mailbox.stack.kafka_bootstrap
    other = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{mailbox.name}.other")
    await other.start()
    await other.begin_transaction()
    await other.send_and_wait(mailbox.marks, b'{"written_at_ms": 1}', b"dlq.other/0/0", 0)
    ours = await Kafka(bootstrap, "test").fence(f"{mailbox.name}.ours")
    place = Place(mailbox.letters, 0, 0, 5)
    written = Event(mailbox.marks, str(place).encode(), b'{"written_at_ms": 5}', (), 0)
    await ours.transact([written], {}, "")
    await ours.close()

    assert await stable_records(mailbox.stack, mailbox.marks) == [], "hidden behind the open transaction"
    reading = asyncio.create_task(read_replayed(bootstrap, mailbox.marks))
    done, _ = await asyncio.wait({reading}, timeout=3)
    assert not done, "a replay that does not see its own marks would write letters twice"
    await other.abort_transaction()
    await other.stop()
    assert await reading == {place}


async def test_letters_that_cannot_go_back_are_counted_and_the_rest_goes(mailbox: Mailbox) -> None:
    await mailbox.put_letters(1)
    writer = await Kafka(mailbox.stack.kafka_bootstrap, "test").fence(mailbox.name)
    gone = (("__dlq.errors.topic", b"gone.v1"), ("__dlq.errors.partition", b"0"))
    strangers = [Event(mailbox.letters, b"k", b"v", (), 0), Event(mailbox.letters, b"k", b"v", gone, 0)]
    await writer.transact(strangers, {}, "")
    await writer.close()
    assert await mailbox.replay() == {Fate.REPLAYED: 1, Fate.NO_ORIGIN: 1, Fate.ORIGIN_MISSING: 1}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        pytest.param(
            ("replay", "frames.ingested.v1", "--all"),
            "frames.ingested.v1 is no dead-letter topic here: `roadloop deadletters list` shows those there are",
            id="an-event-topic",
        ),
        pytest.param(
            ("show", "dlq.no.such.v1", "0", "0"),
            "dlq.no.such.v1 is no dead-letter topic here: `roadloop deadletters list` shows those there are",
            id="a-topic-that-is-not-there",
        ),
        pytest.param(
            ("show", "{letters}", "0", "0"),
            "there is no letter at {letters}/0/0: it expired, or never was there",
            id="an-offset-that-is-not-there",
        ),
        pytest.param(
            ("show", "{letters}", "2", "0"),
            "{letters} has partitions 0 to 1, not 2",
            id="a-partition-that-is-not-there",
        ),
        pytest.param(
            ("replay", "{letters}"),
            CHOOSE,
            id="nothing-chosen",
        ),
        pytest.param(
            ("replay", "{letters}", "--all", "--partition", "0"),
            CHOOSE,
            id="some-and-all",
        ),
        pytest.param(("replay", "{letters}", "--offset", "0"), CHOOSE, id="an-offset-of-no-partition"),
        pytest.param(
            ("replay", "{letters}", "--partition", "0", "--offset", "9-"),
            "--offset '9-': say one offset (7), or the first and the last one (7-9)",
            id="no-range",
        ),
        pytest.param(
            ("replay", "{letters}", "--id", "e-9"),
            "no letter of {letters} is like that: `roadloop deadletters list` shows those there are",
            id="an-event-that-is-not-there",
        ),
        pytest.param(
            ("replay", "{letters}", "--all", "--reason", "undecodable"),
            CHOOSE,
            id="two-choices",
        ),
    ],
)
async def test_what_cannot_be_done_is_said_in_one_line(mailbox: Mailbox, arguments: tuple[str, ...], line: str) -> None:
    asked = [argument.format(letters=mailbox.letters) for argument in arguments]
    said = await asyncio.to_thread(deadletters, *asked, "--kafka", mailbox.stack.kafka_bootstrap)
    assert (said.exit_code, said.stderr) == (1, line.format(letters=mailbox.letters) + "\n")
