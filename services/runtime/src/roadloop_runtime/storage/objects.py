"""Objects in S3: one seam to the blocking client, everything with a time limit.

Whole objects are read most, so without threads: the client signs, aiohttp reads. That takes two fifths of the time on a
core that the client takes, whose threads wait for each other.
"""

import asyncio
import hashlib
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import urllib3
import yarl
from minio import Minio
from minio.error import MinioException, S3Error

from roadloop_runtime.outcome import Transient
from roadloop_schemas.fields import ObjectRef

# Guards against a hang, not against a slow network: what moves may take its time.
SILENT_S = 30.0
CONNECT_S = 10.0
TIMEOUT_S = 600.0
CONNECTIONS = 32
SIGNED_FOR = timedelta(minutes=15)  # how far two clocks may differ, as for any signed request
READ_WITHIN = aiohttp.ClientTimeout(TIMEOUT_S, sock_connect=CONNECT_S, sock_read=SILENT_S)
CANARY = "canary/is-not-there"
MAX_ERROR_BYTES = 4096  # bytes of an error that are read
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
    """A client of one S3 endpoint with one identity. `read_last` is the key that was read last, by bucket.

    `session` has connections that stay open between reads (`keep_connections_open`); without one each opens its own.
    """

    client: Minio
    read_last: dict[str, str] = field(default_factory=dict, compare=False)
    session: aiohttp.ClientSession | None = field(default=None, compare=False)

    async def fetch(self, reference: ObjectRef) -> bytes:
        """Return an object's bytes, checked against size and sha256.

        Raises ObjectMissing, ObjectChanged, ObjectRefused, or Transient where S3 does not answer or the bucket is gone.
        Never reads more than the announced size.
        """
        signed = self.client.presigned_get_object(reference.bucket, reference.key, expires=SIGNED_FOR)
        async with _open_session(self) as session:
            try:
                content = await _get(session, yarl.URL(signed, encoded=True), reference)
            except ObjectMissing:
                await self.require_bucket(reference.bucket)
                raise
        self.read_last[reference.bucket] = reference.key
        if hashlib.sha256(content).hexdigest() != reference.sha256:
            raise ObjectChanged(f"{reference.uri}: the sha256 is not the announced one")
        return content

    async def read(self, bucket: str, key: str) -> bytes:
        """Return an object that no reference announces. Raises ObjectMissing, ObjectRefused or Transient."""
        content: bytes = await self._call(_read, self.client, bucket, key)
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

    async def require_bucket(self, bucket: str) -> None:
        """Raise Transient where a bucket is not there: a disk that is not mounted is an outage, not garbage.

        Who may not ask that is refused where there is one: for that no right to list is needed.
        """
        try:
            exists = await self._call(self.client.bucket_exists, bucket)
        except ObjectRefused:
            return
        if not exists:
            remedy = "is its disk mounted, is this the right S3? On one machine `roadloop up` makes buckets"
            raise Transient("s3", f"there is no bucket {bucket}: {remedy}", busy=True)

    async def answers(self, bucket: str) -> bool:
        """Say whether S3 answers now: the canary and the readiness check.

        It reads what was read last: a server that has just come back knows its objects before it can read them.
        """
        try:
            await self.require_bucket(bucket)
            if bucket in self.read_last:
                await self._call(_read, self.client, bucket, self.read_last[bucket], 1)
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
            raise _to_error(f"{error.bucket_name}/{error.object_name}", str(error.code), str(error.message)) from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError, TimeoutError) as error:
            raise Transient("s3", f"{type(error).__name__}: {error}") from error


def open_store(endpoint: str, access_key: str, secret_key: str) -> ObjectStore:
    """Make a client; nothing is asked yet. The region is given, so that presigning needs no round trip."""
    parts = urlsplit(endpoint)
    timeout = urllib3.Timeout(connect=CONNECT_S, read=SILENT_S)
    pool = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=timeout, retries=urllib3.Retry(0, redirect=0))
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


@asynccontextmanager
async def keep_connections_open(store: ObjectStore) -> AsyncIterator[ObjectStore]:
    """Give the store with connections that stay open, for who reads many objects."""
    async with _open_session(store) as session:
        yield replace(store, session=session)


@asynccontextmanager
async def _open_session(store: ObjectStore) -> AsyncIterator[aiohttp.ClientSession]:
    if store.session is not None:
        yield store.session
        return
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        headers={"Accept-Encoding": "identity"},  # S3 may keep an object compressed, and would send it so
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=READ_WITHIN,
    ) as session:
        yield session


async def _get(session: aiohttp.ClientSession, signed: yarl.URL, reference: ObjectRef) -> bytes:
    try:
        async with session.get(signed, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise _to_read_error(reference, response.status, await response.content.read(MAX_ERROR_BYTES))
            if response.content_length != reference.size_bytes:
                stored_bytes = "an unknown size" if response.content_length is None else response.content_length
                raise ObjectChanged(
                    f"{reference.uri}: announced {reference.size_bytes} bytes, the object has {stored_bytes}"
                )
            return await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Transient("s3", f"{type(error).__name__}: {error}") from error


def _to_read_error(reference: ObjectRef, status: int, body: bytes) -> Exception:
    """Return what S3's answer to a read means: XML with a code and a message, as a rule."""
    code, message = (re.search(rb"<%s>(.*?)</%s>" % (tag, tag), body, re.S) for tag in (b"Code", b"Message"))
    text = message[1].decode(errors="replace") if message else f"status {status}"
    if not code and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Transient("s3", text, busy=status == HTTPStatus.SERVICE_UNAVAILABLE)
    return _to_error(f"{reference.bucket}/{reference.key}", code[1].decode(errors="replace") if code else "", text)


def _to_error(object_name: str, code: str, text: str) -> Exception:
    if code in MISSING:
        return ObjectMissing(f"{object_name} is not there")
    if code in BUSY | {"InternalError"}:
        return Transient("s3", f"{code}: {text}", busy=code in BUSY)
    return ObjectRefused(f"{code}: {text}")


def _read(client: Minio, bucket: str, key: str, length: int = 0) -> bytes:
    """Return the first bytes of an object, or all of it."""
    response = client.get_object(bucket_name=bucket, object_name=key, length=length)
    try:
        return bytes(response.read())
    finally:
        response.close()
        response.release_conn()


def _put(client: Minio, bucket: str, key: str, content: bytes, media_type: str) -> None:
    client.put_object(
        bucket_name=bucket, object_name=key, data=io.BytesIO(content), length=len(content), content_type=media_type
    )


def _stat(client: Minio, bucket: str, key: str) -> None:
    client.stat_object(bucket_name=bucket, object_name=key)
