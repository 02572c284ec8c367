"""Settings every service has. Read once in `__main__.py`, from the environment alone."""

from typing import Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class BadSettings(SystemExit):
    """The environment does not say what a service needs. Ends the process with a line per setting."""


class ServiceSettings(BaseSettings):
    """Addresses have no defaults: a service that does not know where its servers are must not guess."""

    model_config = SettingsConfigDict(env_prefix="ROADLOOP_", frozen=True)

    member: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Static member id, one per live process.")
    kafka_bootstrap: str
    health_port: int = Field(ge=1, le=65535)
    health_host: str = "127.0.0.1"
    log_level: str = "INFO"

    @classmethod
    def read(cls) -> Self:
        """Read the environment; what is missing or wrong is said in one line each."""
        try:
            return cls()
        except ValidationError as error:
            errors = [(str(e["loc"][0] if e["loc"] else "").upper(), e["msg"]) for e in error.errors()]
            lines = [f"ROADLOOP_{name}: {message} (set this environment variable)" for name, message in errors]
            raise BadSettings("\n".join(lines)) from error


class ObjectSettings(ServiceSettings):
    """For services that read or write objects."""

    s3_endpoint: str = Field(pattern=r"^https?://")
    s3_access_key: str
    s3_secret_key: SecretStr


class DatabaseSettings(ObjectSettings):
    """For services that own tables."""

    postgres_dsn: SecretStr
