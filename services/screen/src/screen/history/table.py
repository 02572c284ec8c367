"""History as Apache Iceberg tables: `screen.verdicts`, each verdict once, and `screen.policies`, each version once.

Every snapshot of the verdicts names the offsets it covers, and a commit succeeds only on the snapshot it was made for.
So rows and offsets move together, however often the writer dies and however many there are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import stamina
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import CommitFailedException, NamespaceAlreadyExistsError, TableAlreadyExistsError
from pyiceberg.expressions import EqualTo
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import LongType
from sqlalchemy.exc import IntegrityError, ProgrammingError

from roadloop_schemas.policies import ScreenPolicy
from screen.history.file_merging import Stretch, join_overlapping
from screen.history.rows import SCHEMA

NAMESPACE = "screen"
OFFSETS = "roadloop.offsets"
ROWS_AT_ONCE = 4_096
POLICIES = pa.schema(
    [
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("body", pa.string(), nullable=False),
    ]
)
KEPT_IN_SHAPE = {
    "commit.manifest-merge.enabled": "true",
    # Tried again on another snapshot, an append would repeat what somebody else has appended meanwhile.
    "commit.retry.num-retries": "0",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "50",
}


class Overtaken(Exception):
    """Somebody else appended meanwhile: read the offsets anew."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where history lies: the catalogue in Postgres, the files in S3 under `warehouse`, as s3://BUCKET/PREFIX."""

    dsn: str
    warehouse: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str


@stamina.retry(on=(IntegrityError, ProgrammingError), attempts=5)
def _open_catalog(place: Place, namespace: str) -> SqlCatalog:
    """Open the catalogue: it makes what it needs, and fails where somebody else makes that at the same time."""
    settings = {
        "uri": place.dsn.replace("postgresql://", "postgresql+psycopg2://", 1),
        "warehouse": place.warehouse,
        "s3.endpoint": place.s3_endpoint,
        "s3.access-key-id": place.s3_access_key,
        "s3.secret-access-key": place.s3_secret_key,
        "s3.region": "us-east-1",
    }
    catalog = SqlCatalog("roadloop", **settings)
    with suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace_if_not_exists(namespace)
    return catalog


class History:
    """The two tables; every call blocks."""

    def __init__(self, place: Place, namespace: str = NAMESPACE) -> None:
        self.namespace = namespace
        self._catalog = _open_catalog(place, namespace)
        self.verdicts = self._open_table("verdicts", SCHEMA)
        self.policy_rows = self._open_table("policies", POLICIES)
        self._versions: set[tuple[str, int]] = set()
        self._stands_on = self.verdicts.metadata.current_snapshot_id
        for table in (self.verdicts, self.policy_rows):
            self._keep_in_shape(table)
        if self.verdicts.spec().is_unpartitioned():
            self._partition_table()
        if not {field.name for field in self.verdicts.schema().fields}.issuperset(SCHEMA.names):
            self._add_columns()

    def _open_table(self, name: str, schema: pa.Schema) -> Table:
        """Open a table, and make it where it is not there; somebody else may make it at the same time."""
        try:
            return self._catalog.create_table_if_not_exists(
                f"{self.namespace}.{name}", schema, properties=KEPT_IN_SHAPE
            )
        except TableAlreadyExistsError:
            return self._catalog.load_table(f"{self.namespace}.{name}")

    def _partition_table(self) -> None:
        """Let a file hold rows of one Kafka partition and one day: so files can be read in the order of offsets."""
        with suppress(CommitFailedException), self.verdicts.update_spec() as spec:
            spec.add_field("partition", IdentityTransform(), "kafka_partition")
            spec.add_field("received_at", DayTransform(), "day")
        self.verdicts.refresh()

    def _keep_in_shape(self, table: Table) -> None:
        """Give a table from before a setting that setting."""
        if not KEPT_IN_SHAPE.items() <= table.properties.items():
            with suppress(CommitFailedException), table.transaction() as change:
                change.set_properties(KEPT_IN_SHAPE)
            table.refresh()

    def _add_columns(self) -> None:
        """Add the columns that are newer than the table: in older rows they are empty."""
        with suppress(CommitFailedException), self.verdicts.update_schema() as change:
            change.union_by_name(SCHEMA)
        self.verdicts.refresh()

    def read_offsets(self) -> dict[int, int]:
        """Return the next offset of each partition, as of the newest snapshot; none where nothing was appended yet.

        What is appended from now on is appended to that snapshot.
        """
        self.verdicts.refresh()
        self._stands_on = self.verdicts.metadata.current_snapshot_id
        snapshot = self.verdicts.current_snapshot()
        if snapshot is None or snapshot.summary is None:
            return {}
        offsets_by_partition = json.loads(snapshot.summary.additional_properties[OFFSETS])
        return {int(partition): offset for partition, offset in offsets_by_partition.items()}

    def format_offsets(self) -> str:
        """Return the next offsets as a snapshot names them."""
        return json.dumps(self.read_offsets())

    def append(self, rows: Sequence[Mapping[str, Any]], offsets: Mapping[int, int]) -> None:
        """Append rows with the offsets that they reach; raise Overtaken where `offsets` is not of the newest snapshot.

        The library would append to whatever snapshot it has seen last, also where somebody has only looked at files.
        """
        if self.verdicts.metadata.current_snapshot_id != self._stands_on:
            raise Overtaken("the table has moved on since its offsets were read")
        table = pa.Table.from_pylist(list(rows), SCHEMA)
        try:
            self.verdicts.append(table, snapshot_properties={OFFSETS: json.dumps(offsets)})
        except CommitFailedException as error:
            raise Overtaken(str(error)) from error
        self._stands_on = self.verdicts.metadata.current_snapshot_id

    def read_policies(self) -> dict[tuple[str, int], ScreenPolicy]:
        """Return every version of every tenant's policy."""
        self.policy_rows.refresh()
        rows = self.policy_rows.scan().to_arrow().to_pylist()
        return {(row["tenant"], row["version"]): ScreenPolicy.model_validate_json(row["body"]) for row in rows}

    def add_policies(self, policies: Mapping[tuple[str, int], ScreenPolicy]) -> None:
        """Add what is not there yet, by tenant and version; raise Overtaken where somebody else does so."""
        if policies.keys() <= self._versions:
            return
        self._versions = set(self.read_policies())
        new = {key: policy for key, policy in policies.items() if key not in self._versions}
        rows = [
            {"tenant": tenant, "version": version, "body": policy.model_dump_json()}
            for (tenant, version), policy in new.items()
        ]
        try:
            if rows:
                self.policy_rows.append(pa.Table.from_pylist(rows, POLICIES))
            self._versions |= new.keys()
        except CommitFailedException as error:
            raise Overtaken(str(error)) from error

    def list_partitions(self) -> list[int]:
        """Return the Kafka partitions that there is history of."""
        return sorted(self.read_offsets())

    def read_rows(self, partition: int, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Return a partition's rows in the order of their offsets, one file in memory at a time.

        Files whose offsets overlap are in memory together. Times are in us since 1970, UTC: to make a datetime of each
        takes as long as all the other columns.
        """
        tasks, files = self.list_files(partition)
        scan = self.verdicts.scan(EqualTo(term="partition", value=partition), selected_fields=("offset", *columns))
        reader = ArrowScan(self.verdicts.metadata, self.verdicts.io, scan.projection(), scan.row_filter)
        for stretch in join_overlapping(files):
            yield from _iterate_rows(reader.to_table([tasks[place] for place in stretch.files]))

    def list_files(self, partition: int) -> tuple[list[FileScanTask], list[Stretch]]:
        """Return the files that hold a partition's rows, and the offsets in each."""
        self.verdicts.refresh()
        tasks = list(self.verdicts.scan(EqualTo(term="partition", value=partition)).plan_files())
        offset_id = self.verdicts.schema().find_field("offset").field_id
        return tasks, [_make_stretch(place, task, offset_id) for place, task in enumerate(tasks)]


def _iterate_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield a table's rows by their offsets, some thousand in Python at once: there they take twenty times the room."""
    names = table.column_names
    for batch in _sort_by_offset(table).to_batches(ROWS_AT_ONCE):
        for values in zip(*map(_list_values, batch.columns), strict=True):
            yield dict(zip(names, values, strict=True))


def _sort_by_offset(table: pa.Table) -> pa.Table:
    """Return rows by their offsets. Those of one file are so already, and sorting them would hold them twice."""
    offsets = table.column("offset").to_numpy()
    return table if (offsets[1:] > offsets[:-1]).all() else table.sort_by("offset")


def _list_values(column: pa.Array) -> list[Any]:
    values: list[Any] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return values


def _make_stretch(place: int, task: FileScanTask, offset_id: int) -> Stretch:
    bounds = (task.file.lower_bounds[offset_id], task.file.upper_bounds[offset_id])
    first, last = (int(from_bytes(LongType(), bound)) for bound in bounds)
    day = task.file.partition[1] if len(task.file.partition) > 1 else 0
    return Stretch(first, last, task.file.file_size_in_bytes, (place,), frozenset({day}))
