"""The public topics as one AsyncAPI 3.0 document: where, what, how it is kept, who sends and who receives.

Source: AsyncAPI 3.0.0; Kafka bindings 0.5.0; CloudEvents Kafka Protocol Binding 1.0.2.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from roadloop_schemas.cloudevents import REQUIRED, Attributes, derive_id, to_headers
from roadloop_schemas.topics import EVENTS, Topic, read_topic_files

Document = dict[str, Any]
_BINDING = "0.5.0"
_ABOUT = """\
What Roadloop says on Kafka. Every record is a CloudEvent in binary mode: the attributes are headers, the value is JSON.

- Read with `isolation.level=read_committed`: then each event id is seen once.
- Ignore fields you do not know: optional fields are added within a version. A breaking change is a new topic.
- A topic's partition count never changes. Without an explicit partition the key's murmur2 hash chooses one;
  clients on librdkafka need `partitioner=murmur2_random` to choose the same.
"""
_TIME = "2026-03-14T06:41:07Z"


def build_document(examples: Mapping[str, Any]) -> Document:
    """Describe the public topics. `examples` has one body per event."""
    public = [topic for topic in read_topic_files().values() if topic.public]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Roadloop",
            "version": version("roadloop-schemas"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _build_channel(topic, examples) for topic in public},
        "operations": {name: operation for topic in public for name, operation in _build_operations(topic)},
        "components": {"schemas": {"CloudEventHeaders": _build_headers()} | _build_bodies(public)},
    }


def name_event_type(topic: str) -> str:
    """Return the `ce_type` of a topic's events."""
    return f"roadloop.{topic}"


def _build_channel(topic: Topic, examples: Mapping[str, Any]) -> Document:
    return {
        "address": topic.name,
        "description": topic.description,
        "messages": {topic.event: _build_message(topic, examples[str(topic.event)])},
        "tags": [{"name": topic.owner}],
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": topic.cleanup.split(","),
                    "retention.ms": -1 if topic.retention_hours < 0 else topic.retention_hours * 3_600_000,
                },
                "bindingVersion": _BINDING,
            }
        },
    }


def _build_message(topic: Topic, example: Any) -> Document:
    key = f"Records of the same {topic.key} have the same key: they share a partition and keep their order."
    return {
        "name": topic.event,
        "contentType": "application/json",
        "headers": {
            "allOf": [{"$ref": "#/components/schemas/CloudEventHeaders"}],
            "type": "object",
            "properties": {"ce_type": {"const": name_event_type(topic.name)}},
        },
        "payload": {"$ref": f"#/components/schemas/{topic.event}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": _BINDING}},
        "examples": [{"headers": _build_example_headers(topic), "payload": example}],
    }


def _build_example_headers(topic: Topic) -> dict[str, str]:
    id = derive_id("example", topic.name)
    attributes = Attributes(id, f"/roadloop/{topic.owner}", name_event_type(topic.name), "acme", _TIME)
    return {name: value.decode() for name, value in to_headers(attributes)}


def _build_operations(topic: Topic) -> Iterator[tuple[str, Document]]:
    for service in topic.producers:
        yield f"{service}.sends.{topic.name}", _build_operation(topic, "send", service)
    for service in topic.consumers:
        groups = [group for group in topic.groups if group == service or group.startswith(f"{service}-")]
        group_id = {"groupId": {"type": "string", "enum": groups}, "bindingVersion": _BINDING}
        bindings = {"bindings": {"kafka": group_id}} if groups else {}
        yield f"{service}.receives.{topic.name}", _build_operation(topic, "receive", service) | bindings


def _build_operation(topic: Topic, action: str, service: str) -> Document:
    channel = f"#/channels/{topic.name}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "tags": [{"name": service}],
        "messages": [{"$ref": f"{channel}/messages/{topic.event}"}],
    }


def _build_headers() -> Document:
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "description": "The CloudEvents 1.0 attributes, UTF-8.",
        "required": list(REQUIRED),
        "properties": {
            "content-type": {"const": "application/json"},
            "ce_specversion": {"const": "1.0"},
            "ce_id": text | {"description": "Unique within ce_source, and the same at every replay."},
            "ce_source": text | {"format": "uri-reference", "description": "Who wrote it."},
            "ce_type": text,
            "ce_tenant": text | {"description": "Whose event it is: an extension attribute that is always there."},
            "ce_time": {"type": "string", "format": "date-time", "description": "When it happened."},
            "ce_subject": text | {"description": "What it is about, within ce_source."},
        },
    }


def _build_bodies(public: list[Topic]) -> Document:
    """Return the schemas of all bodies in draft 7, which is what AsyncAPI's own schema format is made of."""
    bodies = [EVENTS[str(topic.event)] for topic in public]
    _, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    return {name: _as_draft_7(schema) for name, schema in schemas["$defs"].items()}


def _as_draft_7(node: Any) -> Any:
    """Write a fixed-length array as draft 7 does; the rest of what pydantic writes means the same there."""
    if isinstance(node, list):
        return [_as_draft_7(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {"items" if key == "prefixItems" else key: _as_draft_7(value) for key, value in node.items()}


class _Plain(yaml.SafeDumper):
    """YAML for people: no anchors, and text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _represent_text)


def as_yaml(document: Document) -> str:
    """Write the document as it is committed."""
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
