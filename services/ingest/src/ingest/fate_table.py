"""The two books: what became of every file and every frame, per upload and in all."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ingest.fates import FrameFate, FramesTrained, UploadRefused
from roadloop_runtime.outbox import outbox_table
from roadloop_runtime.records import Event, to_cloud_event
from roadloop_runtime.storage.postgres import Connection, Reader
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.topics import UPLOADS_FATE
from roadloop_schemas.uploads import UploadFate

# Whoever changes frames holds their uploads, and takes those in one order: so no two settles ever wait for each other.
LOCK = """
select tenant, upload_id from uploads
where (tenant, upload_id) in (select * from unnest($1::text[], $2::text[]))
order by tenant, upload_id for update
"""
TOUCHED = "select distinct tenant, upload_id from frames where frame_id = any($1::text[]) or unit_id = any($2::text[])"
SET_FATE = """
update frames set fate = $2, reason = $3, replayed = replayed or $4
where frame_id = $1 and fate in ('in_flight', 'dead_lettered') returning tenant, upload_id
"""
SET_UNIT_FATE = """
update frames set fate = $2, reason = $3, replayed = replayed or $4
where unit_id = $1 and (fate = 'in_flight' or fate = 'dead_lettered' and $4) returning tenant, upload_id
"""
SET_LABELLED = "update frames set labelled = true where frame_id = $1 and not labelled returning tenant, upload_id"
SET_TRAINED = """
update frames set trained = true where frame_id = any($1::text[]) and not trained returning tenant, upload_id
"""
COUNTED = """
vehicle, revision, received_at, announced, admitted_at is not null as admitted, whole_fate, whole_reason, replayed
"""
NEXT_REVISION = f"""
update uploads set revision = revision + 1 where tenant = $1 and upload_id = $2 returning {COUNTED}
"""  # noqa: S608 only constants
UPLOAD = f"select {COUNTED} from uploads where tenant = $1 and upload_id = $2"  # noqa: S608 only constants
SET_REFUSED = """
update uploads set whole_fate = 'rejected', whole_reason = $3, replayed = replayed or $4
where tenant = $1 and upload_id = $2 and admitted_at is null returning tenant, upload_id
"""
FILES = "select fate, reason, count(*) from files where tenant = $1 and upload_id = $2 group by fate, reason"
FRAMES = """
select fate, count(*), count(*) filter (where labelled) as labelled, count(*) filter (where trained) as trained,
       count(*) filter (where replayed) as replayed
from frames where tenant = $1 and upload_id = $2 group by fate
"""
FILE_BOOK = """
select u.tenant, u.vehicle, date_trunc('hour', u.received_at) as hour,
       coalesce(f.fate, u.whole_fate, 'open') as fate, coalesce(f.reason, u.whole_reason) as reason,
       sum(case when f.fate is null then u.announced else 1 end)::bigint as count,
       sum(case when not u.replayed then 0 when f.fate is null then u.announced else 1 end)::bigint as replayed
from uploads u left join files f using (tenant, upload_id)
group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
"""
FRAME_BOOK = """
select tenant, vehicle, date_trunc('hour', received_at) as hour, fate, reason, count(*),
       count(*) filter (where labelled) as labelled, count(*) filter (where trained) as trained,
       count(*) filter (where replayed) as replayed
from frames group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
"""
ANNOUNCED = "select coalesce(sum(announced), 0)::bigint from uploads"
INGESTED = "select count(*) from files where fate = 'accepted'"


Change = FrameFate | FramesTrained | UploadRefused


@dataclass(frozen=True, slots=True)
class Books:
    """Both books in all, and whether they balance. `replayed` are the frames that came back from a dead letter."""

    announced: int
    files: dict[str, int]
    ingested: int
    frames: dict[str, int]
    reasons: dict[str, int]
    labelled: int
    trained: int
    replayed_files: int
    replayed: int

    @property
    def balanced(self) -> bool:
        """Files: announced = accepted + duplicate + rejected + abandoned + open. Frames: ingested = all their fates."""
        return self.announced == sum(self.files.values()) and self.ingested == sum(self.frames.values())


async def store(connection: Connection, changes: Sequence[Change]) -> None:
    """Write what became of frames and uploads, and tell it, in the transaction of their settle."""
    await lock(connection, await _find_uploads(connection, changes))
    touched: dict[tuple[str, str], None] = {}
    for change in changes:
        for row in await _write(connection, change):
            touched[row["tenant"], row["upload_id"]] = None
    await publish(connection, touched)


async def lock(connection: Connection, uploads: Iterable[tuple[str, str]]) -> None:
    """Hold uploads until the end of the transaction. Call it once, before anything of them is changed."""
    upload_keys = list(uploads)
    await connection.execute(LOCK, [tenant for tenant, _ in upload_keys], [upload_id for _, upload_id in upload_keys])


async def _find_uploads(connection: Connection, changes: Sequence[Change]) -> set[tuple[str, str]]:
    frames: list[str] = []
    units: list[str] = []
    uploads: set[tuple[str, str]] = set()
    for change in changes:
        if isinstance(change, UploadRefused):
            uploads.add((change.tenant, change.upload_id))
        elif isinstance(change, FramesTrained):
            frames += change.frame_ids
        elif change.unit_id is not None:
            units.append(change.unit_id)
        elif change.frame_id is not None:
            frames.append(change.frame_id)
    return uploads | {tuple(row) for row in await connection.fetch(TOUCHED, frames, units)}


async def _write(connection: Connection, change: Change) -> list[Any]:
    if isinstance(change, UploadRefused):
        return await connection.fetch(SET_REFUSED, change.tenant, change.upload_id, change.reason, change.replayed)
    if isinstance(change, FramesTrained):
        return await connection.fetch(SET_TRAINED, list(change.frame_ids))
    if change.unit_id is not None:
        return await connection.fetch(SET_UNIT_FATE, change.unit_id, change.fate, change.reason, change.replayed)
    if change.fate == "labelled":
        return await connection.fetch(SET_LABELLED, change.frame_id)
    return await connection.fetch(SET_FATE, change.frame_id, change.fate, change.reason, change.replayed)


async def publish(connection: Connection, uploads: Iterable[tuple[str, str]]) -> None:
    """Put the newest counters of uploads into the outbox."""
    await outbox_table.append(connection, [await _build_event(connection, *upload) for upload in sorted(uploads)])


async def _build_event(connection: Connection, tenant: str, upload_id: str) -> Event:
    fate = await _count_fates(connection, tenant, upload_id)
    return to_cloud_event(
        UPLOADS_FATE,
        fate,
        id=derive_id("fate", tenant, upload_id, fate.revision),
        source="/roadloop/ingest",
        tenant=tenant,
        key=f"{tenant}/{upload_id}",
        time=fate.received_at,
        subject=upload_id,
    )


async def _count_fates(connection: Connection, tenant: str, upload_id: str) -> UploadFate:
    upload = await connection.fetchrow(NEXT_REVISION, tenant, upload_id)
    if upload is None:
        raise LookupError(f"upload {tenant}/{upload_id} has frames but no row")
    return await _count_parts(connection, tenant, upload_id, dict(upload))


async def read(pool: Reader, tenant: str, upload_id: str) -> UploadFate | None:
    """Count an upload's files and frames; None where there is no such upload."""
    upload = await pool.fetchrow(UPLOAD, tenant, upload_id)
    return await _count_parts(pool, tenant, upload_id, dict(upload)) if upload else None


async def _count_parts(pool: Reader, tenant: str, upload_id: str, upload: dict[str, Any]) -> UploadFate:
    """Count an upload's files and frames. `upload` is its row as COUNTED names its columns.

    Files without a fate of their own have that of the upload as a whole, or are open.
    """
    files = await pool.fetch(FILES, tenant, upload_id)
    frames = await pool.fetch(FRAMES, tenant, upload_id)
    by_fate: dict[str, int] = {}
    for row in files:
        by_fate[row["fate"]] = by_fate.get(row["fate"], 0) + row["count"]
    reasons = {row["reason"]: row["count"] for row in files if row["reason"]}
    if not upload["admitted"]:
        by_fate[upload["whole_fate"] or "open"] = upload["announced"]
        reasons |= {upload["whole_reason"]: upload["announced"]} if upload["whole_reason"] else {}
    return UploadFate(
        upload_id=upload_id,
        vehicle=upload["vehicle"],
        revision=upload["revision"],
        received_at=upload["received_at"],
        announced=upload["announced"],
        **by_fate,
        reasons=reasons,
        ingested=by_fate.get("accepted", 0),
        **{row["fate"]: row["count"] for row in frames},
        labelled=sum(row["labelled"] for row in frames),
        trained=sum(row["trained"] for row in frames),
        replayed_files=upload["announced"] if upload["replayed"] else 0,
        replayed=sum(row["replayed"] for row in frames),
    )


async def sum_books(pool: Reader) -> Books:
    """Sum both books. The announced and ingested figures come from other rows than their fates do."""
    files = await pool.fetch(FILE_BOOK)
    frames = await pool.fetch(FRAME_BOOK)
    reasons: dict[str, int] = {}
    for row in (*files, *frames):
        if row["reason"]:
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["count"]
    return Books(
        announced=await pool.fetchval(ANNOUNCED),
        files=_sum(files),
        ingested=await pool.fetchval(INGESTED),
        frames=_sum(frames),
        reasons=reasons,
        labelled=sum(row["labelled"] for row in frames),
        trained=sum(row["trained"] for row in frames),
        replayed_files=sum(row["replayed"] for row in files),
        replayed=sum(row["replayed"] for row in frames),
    )


def _sum(rows: Sequence[Any]) -> dict[str, int]:
    total: dict[str, int] = {}
    for row in rows:
        total[row["fate"]] = total.get(row["fate"], 0) + row["count"]
    return total


async def read_book_rows(pool: Reader) -> dict[str, Any]:
    """Return both books per vehicle and hour of arrival, ready for JSON."""
    files, frames = await pool.fetch(FILE_BOOK), await pool.fetch(FRAME_BOOK)
    rows = {"files": [dict(row) for row in files], "frames": [dict(row) for row in frames]}
    total = await sum_books(pool)
    return {"total": asdict(total) | {"balanced": total.balanced}, **json.loads(json.dumps(rows, default=str))}
