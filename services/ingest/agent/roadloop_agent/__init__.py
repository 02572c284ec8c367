"""The reference agent: what a vehicle does to get its pictures into Roadloop. Every call can be repeated safely."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import stamina


@dataclass(frozen=True, slots=True)
class Picture:
    """One JPEG or PNG, with what the vehicle knew when it was taken; `signals` are events such as hard_brake."""

    content: bytes
    captured_at: datetime
    condition: str = "unknown"
    camera: str = "front"
    media_type: str = "image/jpeg"
    signals: tuple[str, ...] = ()

    def announce(self) -> dict[str, Any]:
        return {
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "size_bytes": len(self.content),
            "media_type": self.media_type,
            "captured_at": self.captured_at.isoformat(),
            "camera": self.camera,
            "condition": self.condition,
            "signals": self.signals,
        }


def _may_work_later(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in {408, 425, 429, 500, 502, 503, 504}
    return isinstance(error, httpx.TransportError)


async def _send(client: httpx.AsyncClient, method: str, url: str, **options: Any) -> httpx.Response:
    """Send one request, again with growing pauses while it may work later."""
    async for attempt in stamina.retry_context(on=_may_work_later, attempts=10, timeout=timedelta(minutes=10)):
        with attempt:
            answer = await client.request(method, url, **options)
            answer.raise_for_status()
    return answer


async def put_pictures(
    client: httpx.AsyncClient, token: str, upload_id: str, drive: str, pictures: Sequence[Picture]
) -> list[str]:
    """Announce an upload and put its pictures where ingest says; return their URIs. `client` knows ingest's address."""
    manifest = {"upload_id": upload_id, "drive": drive, "files": [picture.announce() for picture in pictures]}
    bearer = {"Authorization": f"Bearer {token}"}
    announcement = (await _send(client, "POST", "/v1/uploads", json=manifest, headers=bearer)).json()
    for file, picture in zip(announcement["files"], pictures, strict=True):
        await _send(client, "PUT", file["put_url"], content=picture.content)
    return [str(file["uri"]) for file in announcement["files"]]


async def upload(
    client: httpx.AsyncClient, token: str, upload_id: str, drive: str, pictures: Sequence[Picture]
) -> None:
    """Upload a drive's pictures over HTTP, from the announcement to the completion."""
    await put_pictures(client, token, upload_id, drive, pictures)
    await _send(client, "POST", f"/v1/uploads/{upload_id}/complete", headers={"Authorization": f"Bearer {token}"})


async def read_fate(client: httpx.AsyncClient, token: str, upload_id: str) -> dict[str, Any]:
    """Ask what became of an upload."""
    answer = await _send(client, "GET", f"/v1/uploads/{upload_id}", headers={"Authorization": f"Bearer {token}"})
    fate: dict[str, Any] = answer.json()
    return fate
