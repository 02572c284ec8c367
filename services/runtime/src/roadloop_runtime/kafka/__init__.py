"""The one narrow door to Kafka: nothing outside of this package imports a Kafka client.

It gives the answers that `roadloop_runtime.broker` asks for.
"""

from aiokafka.errors import KafkaConnectionError as NoBrokerAnswers
from aiokafka.errors import KafkaError as ClientError

from roadloop_runtime.kafka.client import Kafka

__all__ = ["ClientError", "Kafka", "NoBrokerAnswers"]
