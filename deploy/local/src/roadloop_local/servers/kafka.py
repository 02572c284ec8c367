"""Apache Kafka: one broker that is its own controller, on the Java that comes as a package."""

import asyncio
import base64
import logging
import subprocess

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from roadloop_local.binaries import Binaries
from roadloop_local.errors import NotReadyError, StackError
from roadloop_local.layout import Layout
from roadloop_local.program import Program
from roadloop_local.servers.kafka_jars import bring_jars, class_path, find_cache

logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it says of a broker that is not up yet
PORTS = ("kafka", "kafka_controller")
SECRETS: tuple[str, ...] = ()

# A short session lets a broker that was killed come back in 5 s instead of 14 s: its old registration has to expire.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={controller}
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{advertised},CONTROLLER://{controller}
controller.listener.names=CONTROLLER
log.dirs={log_dirs}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
"""

LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
"""


def lay_down(layout: Layout, binaries: Binaries) -> None:
    """Bring the jars, write the configuration and format the log folder once."""
    bring_jars(find_cache())
    folder = layout.data / "kafka"
    folder.mkdir(exist_ok=True)
    (folder / "log4j2.properties").write_text(LOGGING)
    properties = PROPERTIES.format(
        broker=layout.address("kafka"),
        advertised=layout.for_services().address("kafka"),
        controller=layout.address("kafka_controller"),
        log_dirs=folder / "logs",
    )
    (folder / "server.properties").write_text(properties)
    if not (folder / "logs" / "meta.properties").exists():
        format_logs(layout, binaries)


def format_logs(layout: Layout, binaries: Binaries) -> None:
    """Write the cluster's id into the log folder, as a broker wants it before its first start."""
    cluster = base64.urlsafe_b64encode(b"roadloop" + bytes.fromhex(layout.tag)).decode().rstrip("=")
    properties = str(layout.data / "kafka" / "server.properties")
    arguments = ("format", "--standalone", "--ignore-formatted", "-t", cluster, "-c", properties)
    process = subprocess.run(  # noqa: S603 the command is ours
        build_java_command(layout, binaries, "kafka.tools.StorageTool", *arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        last = (process.stdout + process.stderr).strip().splitlines()[-1:] or [f"exit {process.returncode}"]
        raise StackError(
            f"Kafka cannot format {layout.data / 'kafka'} ({last[0]}): check the disk, then run `roadloop up` again"
        )


def build_java_command(layout: Layout, binaries: Binaries, main_class: str, *arguments: str) -> tuple[str, ...]:
    """Return the command line of one of Kafka's main classes."""
    logging = f"-Dlog4j2.configurationFile={layout.data / 'kafka' / 'log4j2.properties'}"
    classes = ("-cp", class_path(find_cache()))
    return (str(binaries.java), "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", logging, *classes, main_class, *arguments)


def describe_program(layout: Layout, binaries: Binaries) -> Program:
    """Return the broker as a program."""
    command = build_java_command(layout, binaries, "kafka.Kafka", str(layout.data / "kafka" / "server.properties"))
    return Program("kafka", command)


async def check(layout: Layout) -> None:
    """Ask for the cluster's brokers; raise `NotReadyError` until there is one."""
    address = layout.address("kafka")
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", layout.ports["kafka"])
        writer.close()
        await writer.wait_closed()
        admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=30_000)
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
        finally:
            await admin.close()
    except (OSError, KafkaError) as error:
        raise NotReadyError(f"kafka at {address}: {error}") from error
    if not cluster["brokers"]:
        raise NotReadyError(f"kafka at {address}: the broker is not registered yet")


async def prepare(layout: Layout) -> None:
    """Do nothing: topics belong to the services."""
