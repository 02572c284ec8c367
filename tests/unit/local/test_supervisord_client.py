"""A program that is to stop stays stopped, also where it died by itself the moment before."""

from pathlib import Path

import pytest

from roadloop_local.errors import StackError
from roadloop_local.settle_layout import settle_layout
from roadloop_local.supervision import supervisord_client
from roadloop_local.supervision.supervisord_client import ProgramState

DEAD = ProgramState("EXITED", None, 0)  # and about to be started again
RUNNING, STOPPED = ProgramState("RUNNING", 1, 0), ProgramState("STOPPED", None, 0, given_up=True)


class Supervisor:
    """Stops a program that runs, does nothing about one that does not, and starts a dead one when asked about it."""

    def __init__(self, state: ProgramState, *, deaf: bool = False) -> None:
        self.state, self._deaf = state, deaf

    def read(self, _layout: object) -> dict[str, ProgramState]:
        said, self.state = self.state, RUNNING if self.state is DEAD else self.state
        return {"triton": said, "kafka": RUNNING}

    def tell(self, *_asked: object) -> None:
        if self.state is RUNNING and not self._deaf:
            self.state = STOPPED


def stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supervisor: Supervisor, patience_s: float) -> None:
    monkeypatch.setattr(supervisord_client, "read_states", supervisor.read)
    monkeypatch.setattr(supervisord_client, "tolerate", supervisor.tell)
    monkeypatch.setattr(supervisord_client, "read_longest_stop_s", lambda *_: 0.0)
    supervisord_client.stop_programs(settle_layout(tmp_path, ["triton"], []), ["triton"], patience_s)


@pytest.mark.parametrize("state", [DEAD, RUNNING, STOPPED], ids=lambda state: state.state)
def test_what_is_to_stop_is_told_until_it_stays_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: ProgramState
) -> None:
    supervisor = Supervisor(state)
    stop(tmp_path, monkeypatch, supervisor, 120)
    assert supervisor.state is STOPPED


def test_what_does_not_stop_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        StackError, match=r"triton \(running\) did not stop, nothing has moved for 0 s: run `roadloop down`"
    ):
        stop(tmp_path, monkeypatch, Supervisor(RUNNING, deaf=True), 0.2)
