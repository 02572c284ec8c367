"""Keep history quick to read: small files become large ones, and what no snapshot needs any more goes. It blocks.

The sink appends a few rows a minute, so that they can be asked about soon; a week of that would be tens of thousands of
files. Whoever reads meanwhile reads the snapshot that he began with: its files stay for a day.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise

import structlog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThanOrEqual
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from screen.history.file_merging import Stretch, join_overlapping, select_worth_merging
from screen.history.table import OFFSETS, History, Overtaken

log = structlog.get_logger()
SNAPSHOTS_STAY = timedelta(days=1)
AT_ONCE = 500
FEW_POLICY_FILES = 100


def tidy(history: History, now: datetime) -> None:
    """Merge small files and forget old snapshots; raise Overtaken where somebody else writes at the same time."""
    try:
        merged = sum(_merge_partition(history, partition) for partition in history.list_partitions())
        _merge_policies(history.policy_rows)
        replaced_before = now - SNAPSHOTS_STAY
        deleted = sum(_expire(table, replaced_before) for table in (history.verdicts, history.policy_rows))
    except CommitFailedException as error:
        raise Overtaken(str(error)) from error
    log.info("history_tidied", files_merged=merged, files_deleted=deleted)


def _merge_policies(table: Table) -> None:
    """Write the versions of policies anew as one file; they are few, and read all at once anyway."""
    table.refresh()
    if sum(1 for _ in table.scan().plan_files()) >= FEW_POLICY_FILES:
        table.overwrite(table.scan().to_arrow())


def _merge_partition(history: History, partition: int) -> int:
    stretches = select_worth_merging(join_overlapping(history.list_files(partition)[1]))
    for stretch in stretches:
        _merge(history, partition, stretch)
    return sum(len(stretch.files) for stretch in stretches)


def _merge(history: History, partition: int, stretch: Stretch) -> None:
    """Write a stretch's rows anew as one file; the new snapshot covers the offsets that the old one did."""
    row_filter = And(
        EqualTo(term="partition", value=partition),
        And(GreaterThanOrEqual(term="offset", value=stretch.first), LessThanOrEqual(term="offset", value=stretch.last)),
    )
    covered = {OFFSETS: history.format_offsets()}
    table = history.verdicts.scan(row_filter).to_arrow().sort_by("offset")
    history.verdicts.overwrite(table, row_filter, snapshot_properties=covered)


def _expire(table: Table, replaced_before: datetime) -> int:
    """Forget snapshots that were replaced before a moment, and delete the files that only they needed.

    Somebody may still read one that was replaced a minute ago, however old it is. What a later snapshot does not need
    none after it does: so the next one's files are all that have to stay. The oldest go first, some hundreds at a time.
    """
    table.refresh()
    snapshots = sorted(table.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0)
    before_ms = replaced_before.timestamp() * 1000
    old = [snapshot for snapshot, later in pairwise(snapshots) if later.timestamp_ms < before_ms][:AT_ONCE]
    if not old:
        return 0
    unneeded_paths = _files_of(table, old) - _files_of(table, snapshots[len(old) : len(old) + 1])
    table.maintenance.expire_snapshots().by_ids([snapshot.snapshot_id for snapshot in old]).commit()
    for path in sorted(unneeded_paths):
        _delete(table, path)
    return len(unneeded_paths)


def _delete(table: Table, path: str) -> None:
    """Delete a file that no snapshot needs; what cannot be deleted costs room, and nothing else."""
    try:
        table.io.delete(path)
    except OSError as error:
        log.warning("history_file_left", path=path, why=str(error))


def _files_of(table: Table, snapshots: Iterable[Snapshot]) -> set[str]:
    """Return the paths of all that snapshots need: lists of manifests, manifests, and data files."""
    manifests: dict[str, ManifestFile] = {}
    lists = set()
    for snapshot in snapshots:
        lists.add(snapshot.manifest_list)
        manifests |= {manifest.manifest_path: manifest for manifest in snapshot.manifests(table.io)}
    data = {
        entry.data_file.file_path
        for manifest in manifests.values()
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
    }
    return {*lists, *manifests, *data}
