"""What commands that ask Kafka say where it fails."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from roadloop_runtime.broker import Aborted, Fenced, TopicMissing
from roadloop_runtime.cli.terminal import Refused, leave
from roadloop_runtime.kafka import ClientError, NoBrokerAnswers


@contextmanager
def report_kafka_errors(kafka: str) -> Iterator[None]:
    """Print an expected failure as one line, without a traceback, and leave with 1."""
    for client in ("aiokafka", "asyncio"):  # asyncio prints what a client that was fenced has left unread
        logging.getLogger(client).addHandler(logging.NullHandler())
    try:
        yield
    except (NoBrokerAnswers, TimeoutError, OSError):
        leave(f"no Kafka broker answers at {kafka}: check --kafka, or start the local stack with `roadloop up`")
    except Fenced:
        leave("another run of the same command took over: wait for it, then look again")
    except Aborted as error:
        leave(f"a batch did not become durable ({error}): run it again, nothing is written twice")
    except ClientError as error:
        leave(f"Kafka at {kafka} refused ({type(error).__name__}: {error}): see the broker's log")
    except (Refused, TopicMissing) as error:
        leave(str(error))
