"""The local stack brings real servers up, keeps services apart, survives kills and leaves nothing behind."""

import io
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import numpy as np
import psutil
import pytest
import urllib3
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from minio import Minio
from minio.error import MinioException, S3Error
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from roadloop_local import ports
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.errors import StackError
from roadloop_local.layout import Layout
from roadloop_local.preflight import refuse_taken_ports
from roadloop_local.servers import s3_setup
from roadloop_local.settle_layout import settle_layout
from roadloop_local.supervision import leftover_processes, supervisord_client, supervisord_config
from tests.waiting import GUARD_S

pytestmark = pytest.mark.integration


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; say what did not come true where something hangs."""
    until = time.monotonic() + GUARD_S
    while not condition():
        assert time.monotonic() < until, f"not in {GUARD_S:.0f} s: {what}"
        time.sleep(0.05)


def answers(own: Stack, ask: Callable[[Minio], object]) -> bool:
    """Ask the object store once; say whether it did as asked."""
    with s3_setup.open_client(own.layout, "admin") as admin:
        try:
            ask(admin)
        except (MinioException, urllib3.exceptions.HTTPError):
            return False
    return True


async def test_kafka_shows_a_committed_record_and_hides_an_aborted_one(stack: Stack) -> None:
    topic = f"smoke-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, transactional_id=topic)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=stack.kafka_bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    async with producer, consumer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed")
        record = await consumer.getone()
    assert record.value == b"committed"


async def test_a_role_owns_its_schema_and_may_not_read_another(stack: Stack) -> None:
    table = f"smoke_{uuid4().hex}"
    router = await asyncpg.connect(stack.postgres_dsn("label_router"))
    ingest = await asyncpg.connect(stack.postgres_dsn("ingest"))
    try:
        await router.execute(f"create table {table} (id int)")
        assert await router.fetchval(f"select count(*) from label_router.{table}") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ingest.fetchval(f"select count(*) from label_router.{table}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ingest.execute(f"create table public.{table} (id int)")
        await router.execute(f"drop table {table}")
    finally:
        await router.close()
        await ingest.close()


async def test_a_wrong_password_is_refused(stack: Stack) -> None:
    dsn = stack.postgres_dsn("ingest").replace("ingest:", "ingest:x")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(dsn)


def test_an_object_comes_back_as_it_was_put(stack: Stack) -> None:
    with s3_setup.open_client(stack.layout, "ingest") as ingest, s3_setup.open_client(stack.layout, "screen") as screen:
        ingest.put_object(bucket_name="uploads", object_name="smoke", data=io.BytesIO(b"picture"), length=7)
        answer = screen.get_object(bucket_name="uploads", object_name="smoke")
        assert answer.read() == b"picture"
        answer.close()
        answer.release_conn()


@pytest.mark.parametrize(
    ("identity", "bucket"),
    [
        pytest.param("screen", "uploads", id="screen-reads-uploads-only"),
        pytest.param("label-router", "uploads", id="label-router-reads-uploads-only"),
        pytest.param("ingest", "models", id="ingest-has-no-models"),
        pytest.param("trainer-trigger", "uploads", id="trainer-trigger-reads-uploads-only"),
    ],
)
def test_a_foreign_bucket_is_refused(stack: Stack, identity: str, bucket: str) -> None:
    with s3_setup.open_client(stack.layout, identity) as client, pytest.raises(S3Error) as refused:
        client.put_object(bucket_name=bucket, object_name="foreign", data=io.BytesIO(b"x"), length=1)
    assert refused.value.code == "AccessDenied"


DOUBLER = """
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        return [pb.InferenceResponse([pb.Tensor("Y", pb.get_input_tensor_by_name(r, "X").as_numpy() * 2),
            pb.Tensor("NUMPY", np.array([int(np.__version__.split(".")[0])], np.int32))]) for r in requests]
"""
DOUBLER_CONFIG = """
backend: "python"
input [{ name: "X" data_type: TYPE_UINT8 dims: [-1] }]
output [{ name: "Y" data_type: TYPE_UINT8 dims: [-1] }, { name: "NUMPY" data_type: TYPE_INT32 dims: [1] }]
instance_group [{ count: 1 kind: KIND_CPU }]
"""


async def test_triton_loads_a_python_model_that_sees_the_bytes_it_was_sent(stack: Stack) -> None:
    name = f"doubler-{uuid4().hex}"
    folder = stack.model_repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(DOUBLER)
    (folder / "config.pbtxt").write_text(DOUBLER_CONFIG)
    async with InferenceServerClient(stack.triton_grpc) as client:
        assert await client.is_server_live()
        await client.load_model(name)
        numbers = InferInput("X", [100], "UINT8")
        numbers.set_data_from_numpy(np.arange(100, dtype=np.uint8))
        answer = await client.infer(name, [numbers])
        await client.unload_model(name)
    assert answer.as_numpy("Y").tolist() == list(range(0, 200, 2))
    assert answer.as_numpy("NUMPY").tolist() == [1]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack to be cruel to, beside the shared one."""
    data = tmp_path_factory.mktemp("own")
    try:
        yield local.up(data, ["postgres", "s3", "triton"])
    finally:
        local.down(data, purge=True)


@pytest.mark.crash
@pytest.mark.parametrize("program", ["postgres", "s3", "triton"])
def test_a_killed_server_is_started_again(own: Stack, program: str) -> None:
    killed = local.kill(own.data, program)
    wait_for(
        "another process runs", lambda: supervisord_client.read_states(own.layout)[program].pid not in (None, killed)
    )
    local.start(own.data, program)
    assert local.pid_of(own.data, program) != killed


@pytest.mark.crash
def test_a_server_that_has_just_died_is_stopped_and_not_started_again(own: Stack) -> None:
    killed = local.kill(own.data, "triton")
    wait_for("it is dead", lambda: not psutil.pid_exists(killed))  # to ask the supervisor would let it go on
    local.stop(own.data, "triton")
    assert supervisord_client.read_states(own.layout)["triton"].state == "STOPPED"
    local.start(own.data, "triton")


def test_up_is_idempotent(own: Stack) -> None:
    before = local.pid_of(own.data, "postgres")
    local.up(own.data, ["postgres", "s3", "triton"])
    assert local.pid_of(own.data, "postgres") == before


@pytest.mark.crash
def test_servers_die_with_their_supervisor_and_data_survives_it(own: Stack) -> None:
    # the store was killed by the test before: its first write waits until the volumes are known again
    wait_for("it is put", lambda: answers(own, lambda s3: s3.put_object("datasets", "kept", io.BytesIO(b"kept"), 4)))
    os.kill(int(supervisord_config.pid_path(own.layout).read_text()), signal.SIGKILL)
    wait_for("all are dead", lambda: leftover_processes.find_processes(own.data) == [])
    local.up(own.data, ["postgres", "s3", "triton"])
    wait_for("it is still there", lambda: answers(own, lambda s3: s3.stat_object("datasets", "kept")))


@pytest.mark.crash
def test_down_leaves_no_process_no_socket_and_no_shared_memory(own: Stack) -> None:
    assert leftover_processes.find_processes(own.data) != []
    assert list(leftover_processes.find_files(own.layout)) != []
    local.down(own.data)
    assert leftover_processes.find_processes(own.data) == []
    assert list(leftover_processes.find_files(own.layout)) == []
    assert all(ports.is_free(port) for port in own.layout.ports.values())


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    layout = settle_layout(tmp_path, ["postgres"], [])
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", layout.ports["postgres"]))
        stranger.listen()
        with pytest.raises(StackError, match=r"taken by another program: stop that program"):
            refuse_taken_ports(layout, ["postgres"])


def test_what_was_settled_stays(tmp_path: Path) -> None:
    first = settle_layout(tmp_path, ["a"], ["b"])
    second = settle_layout(tmp_path, ["a", "c"], ["b"])
    assert second == Layout(tmp_path, first.tag, {**first.ports, "c": second.ports["c"]}, first.secrets)
    assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600
