"""The real loop holds its promise under seeds of faults, and the simulation can tell when it does not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import mutations
from tests.simulation.scenario import FAULTS_WITHIN_S, Fault, Scenario, draw
from tests.simulation.shrink import shrink

SEEDS, MUTANT_SEEDS = 500, 1_500
# process ids differ, virtual time does not: two runs of a scenario print the same, or something real leaked in
REPLAY = draw(11)


def simulation(
    *arguments: str, module: str = "tests.simulation", timeout_s: float = 3600
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (sys.executable, "-W", "ignore", "-m", module, *arguments),
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "0", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.timeout(4000)
def test_all_seeds_hold() -> None:
    done = simulation("seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"{SEEDS} seeds in ")
    (places,) = re.findall(r"killed while waiting at (\d+) places", done.stdout)
    assert int(places) >= 20, "processes die in few places: the faults no longer reach the loop"


def test_the_seeds_reach_nearly_every_branch_of_the_loop() -> None:
    done = simulation("60", module="tests.simulation.branches")
    assert done.returncode == 0, done.stderr
    shares = {line.split()[0]: float(line.split()[1].rstrip("%")) for line in done.stdout.splitlines()}
    assert set(shares) >= {"partition_task", "loop", "publisher", "retry", "member_claims"}
    assert min(shares.values()) >= 85, done.stdout


def test_every_seed_has_at_least_200_records_and_two_faults() -> None:
    for seed in range(1_000):
        scenario = draw(seed)
        assert scenario.records >= 200
        assert len(scenario.faults) >= 2
        assert all(0 <= fault.at_s <= FAULTS_WITHIN_S + 1.4 for fault in scenario.faults)


def test_a_scenario_runs_the_same_every_time() -> None:
    first, second = (simulation("replay", REPLAY.to_json()) for _ in range(2))
    assert first.returncode == 0, first.stdout + first.stderr
    assert (first.stdout, "all holds" in first.stdout) == (second.stdout, True)


def test_an_output_that_refuses_for_long_is_not_asked_in_a_storm() -> None:
    """Without a pause it would be more than three take-overs a second, each with the memory read and input fetched."""
    refusal = Scenario(2, "kafka", 200, (Fault(0.3, "refuse", "out.v1", 30.0, 1.0),))
    done = simulation("replay", refusal.to_json())
    assert done.returncode == 0, done.stdout
    (fences,) = re.findall(r"fenced (\d+) times", done.stdout)
    assert 5 <= int(fences) <= 35


def test_a_scenario_survives_json() -> None:
    assert Scenario.from_json(REPLAY.to_json()) == REPLAY


def test_a_failing_scenario_is_shrunk_to_what_matters() -> None:
    kill, noise = Fault(1.0, "kill", "a", 0.1, 7), Fault(2.0, "tidy")
    scenario = Scenario(1, "kafka", 200, (noise, kill, noise))

    def fails(candidate: Scenario) -> bool:
        return candidate.records >= 50 and any(fault.kind == "kill" for fault in candidate.faults)

    assert shrink(scenario, fails) == Scenario(1, "kafka", 50, (kill,))


@pytest.mark.timeout(4000)
def test_every_planted_defect_is_caught() -> None:
    caught = mutations.catch_all(mutations.SHOWN_HERE, MUTANT_SEEDS)
    assert [mutation.name for mutation, seed, _ in caught if seed is None] == []
