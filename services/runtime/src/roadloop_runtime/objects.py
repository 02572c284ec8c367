"""Objects in S3: one seam to the blocking client, everything with a time limit."""

import asyncio
import hashlib
import io
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from roadloop_runtime.outcome import Transient
from roadloop_schemas.fields import ObjectRef

TIMEOUT_S = 15.0
CANARY = "canary/is-not-there"
BUSY = {"ServiceUnavailable", "SlowDown"}
MISSING = {"NoSuchKey", "NoSuchBucket", "NoSuchObject"}


class ObjectMissing(Exception):
    """The object is not there."""


class ObjectChanged(Exception):
    """The object is not what its reference says: another size or another sha256."""


class ObjectRefused(Exception):
    """S3 refuses: the key is wrong, or has no right to this."""


@dataclass(frozen=True)
class ObjectStore:
    """A client of one S3 endpoint with one identity. `read_last` is the key that was read last, by bucket."""

    client: Minio
    read_last: dict[str, str] = field(default_factory=dict, compare=False)

    async def fetch(self, reference: ObjectRef) -> bytes:
        """Return an object's bytes, checked against size and sha256.

        Raises ObjectMissing, ObjectChanged, ObjectRefused, or Transient where S3 does not answer. Never reads more than
        the announced size.
        """
        content: bytes = await self._call(_get, self.client, reference.bucket, reference.key, reference.size_bytes)
        self.read_last[reference.bucket] = reference.key
        if len(content) != reference.size_bytes:
            raise ObjectChanged(f"{reference.uri}: announced {reference.size_bytes} bytes, the object has other size")
        if hashlib.sha256(content).hexdigest() != reference.sha256:
            raise ObjectChanged(f"{reference.uri}: the sha256 is not the announced one")
        return content

    async def put(self, bucket: str, key: str, content: bytes, media_type: str) -> ObjectRef:
        """Write an object and return its reference."""
        await self._call(_put, self.client, bucket, key, content, media_type)
        return ObjectRef(
            uri=f"s3://{bucket}/{key}", sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
        )

    def presign_put(self, bucket: str, key: str, expires: timedelta) -> str:
        """Return a URL that lets its holder write one object for a while. No network is used."""
        return str(self.client.presigned_put_object(bucket, key, expires=expires))

    def presign_get(self, bucket: str, key: str, expires: timedelta) -> str:
        """Return a URL that lets its holder read one object for a while. No network is used."""
        return str(self.client.presigned_get_object(bucket, key, expires=expires))

    async def answers(self, bucket: str) -> bool:
        """Say whether S3 answers now: the canary and the readiness check.

        It reads what was read last: a server that has just come back knows its objects before it can read them.
        """
        try:
            if bucket in self.read_last:
                await self._call(_peek, self.client, bucket, self.read_last[bucket])
            else:
                await self._call(_stat, self.client, bucket, CANARY)
        except ObjectMissing:
            return True  # it was looked for, and S3 said so: no right to list is needed
        except (Transient, ObjectRefused):
            return False
        return True

    async def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await asyncio.to_thread(function, *arguments)
        except S3Error as error:
            if error.code in MISSING:
                raise ObjectMissing(f"{error.bucket_name}/{error.object_name} is not there") from error
            if error.code in BUSY | {"InternalError"}:
                raise Transient("s3", f"{error.code}: {error.message}", busy=error.code in BUSY) from error
            raise ObjectRefused(f"{error.code}: {error.message}") from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError, TimeoutError) as error:
            raise Transient("s3", f"{type(error).__name__}: {error}") from error


def open_store(endpoint: str, access_key: str, secret_key: str) -> ObjectStore:
    """Make a client; nothing is asked yet. The region is given, so that presigning needs no round trip."""
    parts = urlsplit(endpoint)
    pool = urllib3.PoolManager(
        maxsize=32, timeout=urllib3.Timeout(connect=3, read=10), retries=urllib3.Retry(0, redirect=0)
    )
    return ObjectStore(
        Minio(
            parts.netloc,
            access_key=access_key,
            secret_key=secret_key,
            secure=parts.scheme == "https",
            region="us-east-1",
            http_client=pool,
        )
    )


def _get(client: Minio, bucket: str, key: str, at_most: int) -> bytes:
    response = client.get_object(bucket_name=bucket, object_name=key)
    try:
        return bytes(response.read(at_most + 1))
    finally:
        response.close()
        response.release_conn()


def _peek(client: Minio, bucket: str, key: str) -> None:
    response = client.get_object(bucket_name=bucket, object_name=key, length=1)
    try:
        response.read()
    finally:
        response.close()
        response.release_conn()


def _put(client: Minio, bucket: str, key: str, content: bytes, media_type: str) -> None:
    client.put_object(
        bucket_name=bucket, object_name=key, data=io.BytesIO(content), length=len(content), content_type=media_type
    )


def _stat(client: Minio, bucket: str, key: str) -> None:
    client.stat_object(bucket_name=bucket, object_name=key)
