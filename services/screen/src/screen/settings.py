"""Settings of screening's processes."""

from pydantic import Field, SecretStr, field_validator

from roadloop_runtime.service.settings import ObjectSettings


class TritonSettings(ObjectSettings):
    """Of every process that talks to the model server."""

    triton_grpc: str


class Settings(TritonSettings):
    """Of the worker. `observing` units are looked at together, and `frames_at_once` of all their pictures are held.

    Of these, all models are asked about `asked_at_once`; the others are fetched meanwhile.
    `audit_salt` is a secret of the fleet's, 16 to 64 bytes: it draws the frames that check the screening.
    """

    audit_salt: SecretStr
    observing: int = Field(default=8, ge=1, le=256)
    frames_at_once: int = Field(default=32, ge=1, le=1024)
    asked_at_once: int = Field(default=16, ge=1, le=1024)
    units_in_flight: int = Field(default=32, ge=1, le=4096)

    @field_validator("audit_salt")
    @classmethod
    def _fits(cls, salt: SecretStr) -> SecretStr:
        if not 16 <= len(salt.get_secret_value().encode()) <= 64:
            raise ValueError("a salt has 16 to 64 bytes: take the output of `openssl rand -hex 20`")
        return salt
