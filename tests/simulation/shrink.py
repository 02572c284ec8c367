"""Find the shortest scenario that still fails: fewer faults, then fewer records, then shorter faults."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.scenario import Scenario

Fails = Callable[[Scenario], bool]
LEAST_RECORDS = 8


def shrink(scenario: Scenario, fails: Fails, tries: int = 200) -> Scenario:
    """Return a scenario that fails and from which nothing more can be taken away, as far as so many tries tell.

    Greedy, after Zeller and Hildebrandt 2002, "Simplifying and isolating failure-inducing input".
    """
    left = tries
    shorter = True
    while shorter:
        shorter = False
        for candidate in _shorter(scenario):
            if left == 0:
                return scenario
            left -= 1
            if fails(candidate):
                scenario, shorter = candidate, True
                break
    return scenario


def _shorter(scenario: Scenario) -> Iterator[Scenario]:
    for number in range(len(scenario.faults)):
        yield scenario.without(number)
    for records in (scenario.records // 4, scenario.records // 2, scenario.records * 3 // 4):
        if LEAST_RECORDS <= records < scenario.records:
            yield replace(scenario, records=records)
    for number, fault in enumerate(scenario.faults):
        if fault.for_s > 0.2:
            halved = replace(fault, for_s=round(fault.for_s / 2, 3))
            yield replace(scenario, faults=(*scenario.faults[:number], halved, *scenario.faults[number + 1 :]))
