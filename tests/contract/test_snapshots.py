"""No event changes its shape unseen, and none ever breaks a reader of what was published before."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from roadloop_schemas.__main__ import main
from roadloop_schemas.compatibility import find_breaking_changes
from roadloop_schemas.schema_snapshots import build_snapshot
from roadloop_schemas.topics import EVENTS, read_topic_files
from tests.contract.published import ROOT, SCHEMAS, SNAPSHOTS

REMEDY = "add optional fields only, then run `python -m roadloop_schemas snapshots`"
PROMISED = sorted(
    {t.event for t in read_topic_files().values() if t.event and t.compatibility == "BACKWARD_TRANSITIVE"}
)


def git(*arguments: str) -> str | None:
    """Return what git says, or None outside a checkout."""
    try:
        said = subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True, text=True, timeout=30)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return said.stdout


def published_before(event: str) -> dict[str, Any]:
    """Return every committed version of a snapshot by its commit, as far back as this checkout knows."""
    path = f"schemas/snapshots/{event}.json"
    commits = (git("log", "--format=%h", "--", path) or "").split()
    found = {commit: git("show", f"{commit}:{path}") for commit in commits}
    return {commit: json.loads(text) for commit, text in found.items() if text}


def test_every_event_has_a_snapshot_and_nothing_else_does() -> None:
    assert sorted(SNAPSHOTS) == sorted(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_as_its_snapshot_says(event: str) -> None:
    assert build_snapshot(EVENTS[event]) == SNAPSHOTS[event], f"{event} is not what was published: {REMEDY}"


@pytest.mark.parametrize("event", PROMISED)
def test_an_event_breaks_nothing_of_its_committed_snapshot(event: str) -> None:
    assert find_breaking_changes(SNAPSHOTS[event], build_snapshot(EVENTS[event])) == (), REMEDY


@pytest.mark.parametrize("event", PROMISED)
def test_an_event_breaks_nothing_that_was_ever_published(event: str) -> None:
    if git("rev-parse", "HEAD") is None:
        pytest.skip("this is no git checkout")
    broken = {
        commit: breaks
        for commit, before in published_before(event).items()
        if (breaks := find_breaking_changes(before, build_snapshot(EVENTS[event])))
    }
    assert broken == {}, f"{event} breaks what these commits published: make a new topic version instead"


@pytest.mark.parametrize("what", ["snapshots", "asyncapi"])
def test_the_command_writes_what_is_committed(what: str, tmp_path: Path) -> None:
    shutil.copytree(SCHEMAS / "examples", tmp_path / "examples")
    main([what, "--folder", str(tmp_path)])
    written = {file.relative_to(tmp_path): file.read_text() for file in tmp_path.rglob("*.*") if file.is_file()}
    assert written == {name: (SCHEMAS / name).read_text() for name in written}
    assert len(written) > len(EVENTS)


def test_the_command_refuses_a_folder_that_is_not_the_schemas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["snapshots", "--folder", str(tmp_path)])
    assert "run this from the repository's root" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
