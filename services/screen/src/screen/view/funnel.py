"""Funnel and keep rate per slice, from running counters. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

Counters = Mapping[str, int]
Table = Mapping[str, Counters]  # partition/tenant/condition/camera -> running counters


def take_larger(counters: Counters, newer: Counters) -> dict[str, int]:
    """Return the larger of two running counters, name by name: the newer one, whatever order they come in."""
    return {**counters, **{name: max(counters.get(name, 0), count) for name, count in newer.items()}}


def summarise(table: Table) -> dict[str, Any]:
    """Add the partitions up: per slice and in all, with the share of frames that was kept, 0..1."""
    slices: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    total: dict[str, int] = defaultdict(int)
    for key, counters in table.items():
        _, _, name = key.partition("/")
        for counter, count in counters.items():
            slices[name][counter] += count
            total[counter] += count
    return {"total": _add_rate(total), "slices": {name: _add_rate(counts) for name, counts in sorted(slices.items())}}


def _add_rate(counts: Mapping[str, int]) -> dict[str, float]:
    seen = counts.get("seen", 0)
    return {**counts, "keep_rate": round(counts.get("kept", 0) / seen, 4) if seen else 0.0}
