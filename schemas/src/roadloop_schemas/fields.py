"""The small types events are made of, with their limits."""

import re
from base64 import b64decode
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator


class EventBody(BaseModel):
    """The JSON value of a record.

    A consumer ignores fields it does not know; numbers are finite; a body never changes.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, ser_json_timedelta="float")


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must lie in the years 1 to 9999, in UTC") from error


def _check_embedding(text: str) -> str:
    """Return a text that is base64 of float16; raise ValueError for any other: screening would fail on its frames."""
    if len(b64decode(text, validate=True)) % 2:
        raise ValueError("an embedding is base64 of float16, so of an even number of bytes")
    return text


Moment = Annotated[AwareDatetime, AfterValidator(_to_utc)]
Tenant = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Uri = Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\s?#]{1,900}$")]
EMBEDDING_TEXT = 16_384
EMBEDDING_DIMENSIONS = EMBEDDING_TEXT * 3 // 4 // 2  # 6,144
Embedding = Annotated[str, AfterValidator(_check_embedding)]
Unit = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class Condition(StrEnum):
    """What the vehicle knew of light, weather and road when it took a picture."""

    CLEAR = "clear"
    BACKLIGHT = "backlight"
    TUNNEL = "tunnel"
    BRIDGE = "bridge"
    RAIN = "rain"
    NIGHT = "night"
    RAMP = "ramp"
    UNKNOWN = "unknown"


class ObjectRef(EventBody):
    """Where an object lies and what it must be: pixels and weights never travel on Kafka."""

    uri: Uri
    sha256: Sha256
    size_bytes: int = Field(gt=0, le=2**40)

    @property
    def bucket(self) -> str:
        return self.uri.removeprefix("s3://").split("/", 1)[0]

    @property
    def key(self) -> str:
        return self.uri.removeprefix("s3://").split("/", 1)[1]


class Box(EventBody):
    """A rectangle in parts of the picture, origin top left, with an area above zero."""

    x1: Unit
    y1: Unit
    x2: Unit
    y2: Unit

    @model_validator(mode="after")
    def _check_area(self) -> Self:
        if self.x2 <= self.x1 or self.y2 <= self.y1:
            raise ValueError("x2 and y2 must be greater than x1 and y1")
        return self


class LabelBox(Box):
    """An object somebody says is there."""

    class_name: Name


class Detection(LabelBox):
    """An object a model says is there. `score` is its calibrated probability, 0..1."""

    score: Unit


def is_tenant(text: str) -> bool:
    return re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", text) is not None
