"""The whole stack, with a tenant that screens, labels and could train; every test drives a car of its own."""

import asyncio
import hashlib
import io
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata
from PIL import Image

from ingest import vehicle_table
from ingest.signature import sign, to_key_id
from roadloop_agent import Picture, put_pictures
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_runtime.dead_letter import read_explanation
from roadloop_runtime.dead_letters.dead_letters import Choice, Fate
from roadloop_runtime.dead_letters.replay import replay
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition, Record
from roadloop_runtime.storage.objects import ObjectStore, open_store
from roadloop_schemas.cloudevents import Attributes, Header, to_headers
from roadloop_schemas.models import ModelServing
from roadloop_schemas.topics import name_dead_letter_topic
from roadloop_world.actors import fleet, tenant_setup
from roadloop_world.actors.subscriber import read_topic
from tests.waiting import GUARD_S, eventually

from .books import check_books

TENANT, UNSERVED = "whole", "unserved"
# Half of all frames is kept, by lot, whatever the model says of noise.
POLICY = '{"threshold": 1.0, "audit_share": 0.5}'
TAKEN = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
COMPLETED = "uploads.completed.v1"
# A lease ends while a test waits for that; a rollout goes on by the frames it saw, and never for want of them.
SETTINGS = {"ROADLOOP_LEASE_S": "2", "ROADLOOP_ROLLOUT_PATIENCE_S": str(GUARD_S)}


@dataclass(frozen=True)
class Whole:
    """A stack that is up, and who may ask its people's interfaces."""

    stack: Stack
    annotators: tuple[str, ...]
    researcher: str


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Bring everything up, fresh; `ROADLOOP_TEST_WHOLE_STACK` names a folder to bring up and leave instead."""
    running = os.environ.get("ROADLOOP_TEST_WHOLE_STACK")
    data = running or tmp_path_factory.mktemp("whole")
    try:
        stack = local.up(data, environment=SETTINGS)
        yield asyncio.run(furnish(stack))
    finally:
        if not running:
            local.down(data, purge=True)


@pytest.fixture(scope="module")
def books_that_balance_in_the_end(whole: Whole) -> Iterator[None]:
    """Let the tests of a file send what they like; after the last of them both books agree, and no event came twice."""
    yield
    asyncio.run(check_books(whole.stack))


async def furnish(stack: Stack) -> Whole:
    """Give the tenant a model, a policy, annotators and a researcher."""
    if not await serves(stack):
        await tenant_setup.seed_model(stack, TENANT, f"detector.{TENANT}", tenant_setup.DETECTORS / "v1")
    await tenant_setup.set_policy(stack, TENANT, POLICY)
    annotators = await tenant_setup.enrol_annotators(stack, TENANT, [f"ann-{uuid.uuid4().hex[:6]}" for _ in range(2)])
    name = f"ruth-{uuid.uuid4().hex[:6]}"
    researcher = await tenant_setup.run_command(
        stack, "trainer-trigger", "researchers", "enrol", "--tenant", TENANT, "--name", name
    )
    await eventually("the model serves", lambda: serves(stack))
    return Whole(stack, tuple(annotators), researcher)


async def serves(stack: Stack, tenant: str = TENANT) -> bool:
    records = await read_topic(stack.kafka_bootstrap, "models.serving.v1")
    return any(ModelServing.model_validate_json(record.value or b"{}").model.endswith(tenant) for record in records)


def noise(format: str = "JPEG") -> bytes:
    """Return a picture that nobody has seen before."""
    content = io.BytesIO()
    grey = np.random.default_rng().integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(grey).save(content, format)
    return content.getvalue()


def picture(content: bytes | None = None, media_type: str = "image/jpeg") -> Picture:
    return Picture(noise() if content is None else content, TAKEN, media_type=media_type)


@dataclass(frozen=True)
class Road:
    """A car on the road, and the ways from it into the stack."""

    whole: Whole
    car: fleet.Vehicle
    client: httpx.AsyncClient
    producer: AIOKafkaProducer
    store: ObjectStore

    @property
    def bootstrap(self) -> str:
        return self.whole.stack.kafka_bootstrap

    @property
    def prefix(self) -> str:
        return f"s3://uploads/{self.car.tenant}/{self.car.name}/"

    async def enrol(self, tenant: str = TENANT) -> fleet.Vehicle:
        (car,) = await fleet.enrol(self.whole.stack.postgres_dsn("ingest"), tenant, [a_name("car")])
        return car

    async def enrol_revoked(self) -> fleet.Vehicle:
        car = await self.enrol()
        connection = await asyncpg.connect(self.whole.stack.postgres_dsn("ingest"))
        assert await vehicle_table.revoke(connection, car.tenant, car.name)
        await connection.close()
        return car

    async def put(self, upload_id: str, pictures: Sequence[Picture], car: fleet.Vehicle | None = None) -> list[str]:
        return await put_pictures(self.client, (car or self.car).token(), upload_id, "d-1", pictures)

    async def send(self, value: bytes, headers: Sequence[Header]) -> RecordMetadata:
        """Write a completion under the car's key: whatever it says, it goes where the car's next one goes."""
        return await self.producer.send_and_wait(COMPLETED, value, self.car.name.encode(), headers=list(headers))

    async def fate(self, upload_id: str, car: fleet.Vehicle | None = None) -> dict[str, Any]:
        """Wait until an upload and all its frames have their fate, and return it without what is 0 or empty."""
        token, told = (car or self.car).token(), dict[str, Any]()

        async def known() -> bool:
            nonlocal told
            answer = await self.client.get(f"/v1/uploads/{upload_id}", headers=bearer(token))
            told = answer.json() if answer.status_code == 200 else {}
            return bool(told) and told["revision"] > 0 and not (told["open"] or told["in_flight"])

        async def told_last() -> object:
            return told

        await eventually(f"upload {upload_id} has its fate", known, moving=told_last)
        mine = {name: told[name] for name in ("upload_id", "vehicle", "revision", "received_at")}
        return {name: value for name, value in told.items() if value and name not in mine}

    async def letters(self, group: str, topic: str, partition: int) -> list[dict[str, str]]:
        """Return what the dead letters of a partition say."""
        records = await read_partition(self.bootstrap, Partition(name_dead_letter_topic(group, topic), partition))
        return [read_explanation(tuple(record.headers)) for record in records]

    async def dead_letter(self, sent: RecordMetadata) -> dict[str, str]:
        """Wait for the one dead letter of a completion and return what it says."""
        found: list[dict[str, str]] = []

        async def there() -> bool:
            letters = await self.letters("ingest", sent.topic, sent.partition)
            found[:] = [dead_letter for dead_letter in letters if dead_letter["offset"] == str(sent.offset)]
            return bool(found)

        await eventually(f"a dead letter of {sent}", there)
        assert len(found) == 1
        return found[0]

    async def replay(self, topic: str, event_id: str) -> dict[Fate, int]:
        """Replay the dead letters of an event; return how many had which fate, the others not counted."""
        fates = await replay(self.bootstrap, topic, Choice(event_id=event_id))
        return {fate: count for fate, count in fates.items() if fate is not Fate.NOT_CHOSEN}

    async def units_of(self, upload_id: str) -> list[Record]:
        """Return what was announced of an upload's frames."""
        records = await read_topic(self.bootstrap, "frames.ingested.v1")
        return [record for record in records if dict(record.headers).get("ce_subject") == upload_id.encode()]

    async def still_goes_on(self) -> None:
        """Nothing stops the stream: a good upload of the same car, on the same partition, right after."""
        upload_id, good = a_name("up"), [picture()]
        uris = await self.put(upload_id, good)
        await self.send(*fleet.sign_completion(self.car, upload_id, "d-1", uris, good))
        told = await self.fate(upload_id)
        assert (told["accepted"], told.get("kept", 0) + told.get("dropped", 0)) == (1, 1)


def a_name(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def body(car: fleet.Vehicle, upload_id: str, *files: dict[str, Any]) -> dict[str, Any]:
    moment = TAKEN.isoformat()
    return {"upload_id": upload_id, "vehicle": car.name, "drive": "d-1", "completed_at": moment, "files": list(files)}


def file(uri: str, content: bytes, *, media_type: str = "image/jpeg", **changes: Any) -> dict[str, Any]:
    object = {"uri": uri, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)} | changes
    return {"object": object, "captured_at": TAKEN.isoformat(), "media_type": media_type}


def signed(
    car: fleet.Vehicle, said: dict[str, Any] | bytes, *, by: fleet.Vehicle | None = None, kid: str = ""
) -> tuple[bytes, tuple[Header, ...]]:
    """Return value and headers of a completion about `car`, signed by its key or another's, under any key id."""
    value = said if isinstance(said, bytes) else json.dumps(said).encode()
    event_id = a_name("e")
    signer = by or car
    jws = sign(event_id, car.tenant, value, key=signer.private_key, key_id=kid or to_key_id(signer.tenant, signer.name))
    envelope = Attributes(event_id, f"/vehicles/{car.name}", f"roadloop.{COMPLETED}", car.tenant)
    return value, (*to_headers(envelope), ("jws", jws))


@pytest.fixture
async def road(whole: Whole) -> AsyncIterator[Road]:
    stack = whole.stack
    store = open_store(stack.s3_endpoint, *stack.s3_keys())
    (car,) = await fleet.enrol(stack.postgres_dsn("ingest"), TENANT, [a_name("car")])
    async with (
        httpx.AsyncClient(base_url=f"http://{stack.address('ingest')}", timeout=GUARD_S) as client,
        AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True) as producer,
    ):
        yield Road(whole, car, client, producer, store)
