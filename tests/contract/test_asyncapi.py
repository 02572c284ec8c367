"""The AsyncAPI document is what the topics and models say, valid, and true of a record the services write."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError

from roadloop_runtime.records import to_cloud_event
from roadloop_schemas.asyncapi import as_yaml, build_document
from roadloop_schemas.topics import EVENTS, Topic, read_topic_files
from tests.contract.published import EXAMPLES, SCHEMAS, valid

REMEDY = "run `python -m roadloop_schemas asyncapi`"
COMMITTED = (SCHEMAS / "asyncapi.yaml").read_text()
DOCUMENT: dict[str, Any] = yaml.safe_load(COMMITTED)
OFFICIAL = json.loads((Path(__file__).parent / "asyncapi_3_0_0" / "schema.json").read_text())
PUBLIC = {topic.name: topic for topic in read_topic_files().values() if topic.public}
DRAFT_7 = {"$schema": "http://json-schema.org/draft-07/schema#", "components": DOCUMENT["components"]}


def message(topic: Topic) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["channels"][topic.name]["messages"][topic.event]
    return found


def references(part: Any) -> set[str]:
    if isinstance(part, list):
        return {found for item in part for found in references(item)}
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
    return own | {found for item in part.values() for found in references(item)}


def resolve(reference: str) -> Any:
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_the_committed_document_is_the_generated_one() -> None:
    assert as_yaml(build_document(EXAMPLES)) == COMMITTED, REMEDY


def test_the_document_is_valid_by_the_official_schema() -> None:
    valid(DOCUMENT, OFFICIAL)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(("operations", "ingest.sends.frames.ingested.v1", "action"), "publish", id="an unknown action"),
        pytest.param(("channels", "demand.v1", "bindings", "kafka", "partitions"), 0, id="no partitions"),
        pytest.param(("info", "title"), None, id="no title"),
    ],
)
def test_the_official_schema_does_look(place: tuple[str, ...], value: object) -> None:
    wrong: Any = yaml.safe_load(COMMITTED)
    inner = wrong
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(ValidationError):
        valid(wrong, OFFICIAL)


def test_every_reference_leads_somewhere() -> None:
    assert [reference for reference in sorted(references(DOCUMENT)) if not resolve(reference)] == []


def test_only_public_topics_are_described() -> None:
    assert sorted(DOCUMENT["channels"]) == sorted(PUBLIC)


@pytest.mark.parametrize("topic", PUBLIC.values(), ids=PUBLIC)
def test_a_channel_says_how_its_topic_is_kept(topic: Topic) -> None:
    kafka = DOCUMENT["channels"][topic.name]["bindings"]["kafka"]
    hours = kafka["topicConfiguration"]["retention.ms"]
    assert (kafka["topic"], kafka["partitions"]) == (topic.name, topic.partitions)
    assert ",".join(kafka["topicConfiguration"]["cleanup.policy"]) == topic.cleanup
    assert (hours if hours < 0 else hours / 3_600_000) == topic.retention_hours
    assert topic.key in message(topic)["bindings"]["kafka"]["key"]["description"]


@pytest.mark.parametrize("topic", PUBLIC.values(), ids=PUBLIC)
def test_operations_say_who_sends_and_who_receives(topic: Topic) -> None:
    channel = f"#/channels/{topic.name}"
    found = {
        (operation["action"], operation["tags"][0]["name"])
        for operation in DOCUMENT["operations"].values()
        if operation["channel"]["$ref"] == channel
    }
    assert found == {("send", name) for name in topic.producers} | {("receive", name) for name in topic.consumers}


def test_operations_name_every_consumer_group() -> None:
    named = {
        (operation["channel"]["$ref"].removeprefix("#/channels/"), group)
        for operation in DOCUMENT["operations"].values()
        for group in operation.get("bindings", {}).get("kafka", {}).get("groupId", {}).get("enum", ())
    }
    assert named == {(topic.name, group) for topic in PUBLIC.values() for group in topic.groups}


@pytest.mark.parametrize("topic", PUBLIC.values(), ids=PUBLIC)
def test_its_examples_are_valid_by_its_schemas(topic: Topic) -> None:
    (example,) = message(topic)["examples"]
    valid(example["headers"], DRAFT_7 | message(topic)["headers"])
    valid(example["payload"], DRAFT_7 | {"allOf": [message(topic)["payload"]]})


@pytest.mark.parametrize("topic", PUBLIC.values(), ids=PUBLIC)
def test_a_record_of_the_runtime_is_what_the_document_promises(topic: Topic) -> None:
    assert topic.event is not None
    body = EVENTS[topic.event].model_validate(EXAMPLES[topic.event])
    at = datetime(2026, 3, 14, 6, 41, 7, tzinfo=UTC)
    record = to_cloud_event(
        topic.name, body, id="e-1", source="/roadloop/here", tenant="acme", key="k", time=at, subject="s"
    )
    valid({name: value.decode() for name, value in record.headers}, DRAFT_7 | message(topic)["headers"])
    valid(json.loads(record.value or b""), DRAFT_7 | {"allOf": [message(topic)["payload"]]})


def test_a_record_without_a_tenant_is_not() -> None:
    (example,) = message(PUBLIC["frames.screened.v1"])["examples"]
    headers = {name: value for name, value in example["headers"].items() if name != "ce_tenant"}
    with pytest.raises(ValidationError, match="'ce_tenant' is a required property"):
        valid(headers, DRAFT_7 | message(PUBLIC["frames.screened.v1"])["headers"])
