"""The addresses and keys of a stack."""

from dataclasses import dataclass
from pathlib import Path

from roadloop_local.layout import Layout
from roadloop_local.servers import postgres, s3


@dataclass(frozen=True)
class Stack:
    """Where everything of a stack is, for those who talk to it."""

    layout: Layout

    @property
    def data(self) -> Path:
        """Return the stack's folder."""
        return self.layout.data

    @property
    def kafka_bootstrap(self) -> str:
        """Return host:port of the broker."""
        return self.layout.address("kafka")

    @property
    def s3_endpoint(self) -> str:
        """Return the URL of the object store."""
        return f"http://{self.layout.address('s3')}"

    @property
    def triton_grpc(self) -> str:
        """Return host:port of the model server, gRPC."""
        return self.layout.address("triton_grpc")

    @property
    def triton_http(self) -> str:
        """Return host:port of the model server, HTTP."""
        return self.layout.address("triton_http")

    @property
    def triton_metrics(self) -> str:
        """Return host:port of the model server's metrics."""
        return self.layout.address("triton_metrics")

    @property
    def model_repository(self) -> Path:
        """Return the folder the model server loads from."""
        return self.layout.models

    def postgres_dsn(self, role: str = postgres.ADMIN) -> str:
        """Return the address of the database for a role (`ingest`, `label_router`, `screen`, `trainer_trigger`)."""
        return postgres.dsn(self.layout, role)

    def s3_keys(self, identity: str = s3.ADMIN) -> tuple[str, str]:
        """Return access key and secret key of an identity (`admin`, or a service's name)."""
        return s3.keys_of(self.layout, identity)

    def address(self, service: str) -> str:
        """Return host:port of a service's HTTP interface."""
        return self.layout.address(f"{service}_http")

    def health_address(self, service: str) -> str:
        """Return host:port of a service's health and metrics."""
        return self.layout.address(f"{service}_health")
