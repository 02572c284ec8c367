"""Every topic file is well formed: who may own, write and read it, and what hangs on its partition count."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from roadloop_runtime.kafka.admin import build_topics
from roadloop_schemas.topics import EVENTS, Topic, name_dead_letter_topic, read_topic_files
from tests.contract.published import ROOT, SCHEMAS

FILES = sorted((SCHEMAS / "src" / "roadloop_schemas" / "topics").iterdir())
SERVICES = {folder.name for folder in (ROOT / "services").iterdir() if (folder / "pyproject.toml").is_file()}
WRITERS = SERVICES | {"agent"}
READERS = SERVICES | {"agent", "annotation", "fleet"}
TOPICS: Mapping[str, Topic] = read_topic_files()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_named_as_its_topic_and_is_read(file: Path) -> None:
    said = Topic.model_validate(yaml.safe_load(file.read_text()))
    assert (file.name, TOPICS[said.name]) == (f"{said.name}.yaml", said)


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_who_owns_writes_and_reads_a_topic_is_known(topic: Topic) -> None:
    assert topic.owner in SERVICES
    assert topic.producers
    assert set(topic.producers) <= WRITERS
    assert set(topic.consumers) <= READERS
    assert topic.owner == "runtime" or topic.owner in topic.producers


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_a_name_is_legal_in_kafka_with_room_for_its_dead_letters(topic: Topic) -> None:
    for name in (topic.name, *(name_dead_letter_topic(group, topic.name) for group in topic.groups)):
        assert re.fullmatch(r"[a-z0-9.-]{1,249}", name)


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_a_group_belongs_to_a_reader_and_has_its_dead_letters(topic: Topic) -> None:
    created = build_topics()
    for group in topic.groups:
        assert any(group == reader or group.startswith(f"{reader}-") for reader in topic.consumers)
        assert created[name_dead_letter_topic(group, topic.name)].num_partitions == topic.partitions
    assert len(set(topic.groups)) == len(topic.groups)


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_a_public_topic_has_an_event_and_keeps_it_compatible(topic: Topic) -> None:
    assert topic.event is None or topic.event in EVENTS
    if topic.public:
        assert topic.event is not None
        assert topic.compatibility == "BACKWARD_TRANSITIVE"


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_a_compacted_topic_never_forgets_by_age_alone(topic: Topic) -> None:
    assert topic.cleanup != "compact" or topic.retention_hours == -1
    assert topic.cleanup != "compact,delete" or topic.retention_hours > 0


def test_every_event_is_on_exactly_one_topic() -> None:
    assert sorted(topic.event for topic in TOPICS.values() if topic.event) == sorted(EVENTS)


def test_a_unit_its_verdicts_and_their_memory_share_a_partition_number() -> None:
    """Screening writes a unit's verdicts and memory to the unit's own partition number."""
    counts = {
        name: TOPICS[name].partitions for name in ("frames.ingested.v1", "frames.screened.v1", "screen.memory.v1")
    }
    assert set(counts.values()) == {TOPICS["frames.ingested.v1"].partitions}


@pytest.mark.parametrize(
    "topic", [topic for topic in TOPICS.values() if topic.cleanup == "compact"], ids=lambda t: t.name
)
def test_what_is_compacted_is_so_before_it_is_too_much_to_read(topic: Topic) -> None:
    """The newest segment is never compacted: a gigabyte of it, the default, would be read at every take-over."""
    settings = build_topics()[topic.name].topic_configs
    assert int(settings["segment.bytes"]) <= 16 * 1024 * 1024


def test_the_names_in_code_are_those_of_the_files() -> None:
    values = vars(sys.modules[read_topic_files.__module__]).values()
    names = {value for value in values if isinstance(value, str) and value.endswith(".v1")}
    assert names - set(TOPICS) == set()
    assert set(TOPICS) - names == {"demand.v1", "label-router.outbox.v1", "trainer-trigger.outbox.v1"}
