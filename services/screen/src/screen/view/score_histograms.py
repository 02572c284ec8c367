"""Scores per slice and hour over all partitions, as a table of the view, and the budgets that follow from them.

The table is rebuilt from `frames.screened.v1` and what it holds of a partition names the offset it covers, so a replay
after a crash adds nothing twice.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any

import structlog

from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.score import scale_of
from screen.state_topics.policy_topic import Change
from screen.view.slice_budgets import HOURS, Scores, choose_budgets, may_move, scores_of

log = structlog.get_logger()
LOOK_EVERY_S = 30.0
Hours = MutableMapping[str, Mapping[str, Any]]  # partition/hour/tenant/condition/camera -> offset, scale, seen, bins


def take(table: Hours, partition: int, offset: int, tenant: str, verdict: FrameScreened) -> None:
    """Take one verdict in, by the hour in which its frame was received; hours that are a day old go."""
    hour = int(verdict.received_at.timestamp() // 3600)
    key = f"{partition}/{hour}/{tenant}/{verdict.slice}"
    stored = table.get(key)
    if stored is not None and offset <= stored["offset"]:
        return
    if stored is None:
        _forget(table, partition, hour - HOURS)
    is_of_scale = stored is not None and stored["scale"] == verdict.score_scale
    known_scores = Scores(stored["seen"], tuple(stored["bins"])) if stored is not None and is_of_scale else Scores()
    scores = known_scores + scores_of(verdict)
    table[key] = {"offset": offset, "scale": verdict.score_scale, "seen": scores.seen, "bins": list(scores.bins)}


def _forget(table: Hours, partition: int, before: int) -> None:
    for key in [key for key in table if _split_key(key)[0] == partition and _split_key(key)[1] <= before]:
        table.pop(key)


def _split_key(key: str) -> tuple[int, int, str, str]:
    """Return partition, hour, tenant and slice of a key."""
    partition, hour, tenant, name = key.split("/", 3)
    return int(partition), int(hour), tenant, name


def add_up_scores(table: Mapping[str, Mapping[str, Any]], tenant: str, scale: str) -> dict[str, Scores]:
    """Add up a tenant's hours of the last day, over all partitions; scores of another scale are left out."""
    tenant_hours = [
        (key, stored) for key, stored in table.items() if _split_key(key)[2] == tenant and stored["scale"] == scale
    ]
    newest = max((_split_key(key)[1] for key, _ in tenant_hours), default=0)
    scores: dict[str, Scores] = defaultdict(Scores)
    for key, stored in tenant_hours:
        _, hour, _, name = _split_key(key)
        if hour > newest - HOURS:
            scores[name] += Scores(stored["seen"], tuple(stored["bins"]))
    return scores


async def move_budgets(
    table: Mapping[str, Mapping[str, Any]],
    policies: Mapping[str, ScreenPolicy],
    publish: Callable[[str, Change], Awaitable[int]],
) -> None:
    """Move the budgets of every tenant that lets them be moved."""
    for tenant, policy in list(policies.items()):
        if not may_move(policy):
            continue
        scores = add_up_scores(dict(table), tenant, scale_of(policy))
        if choose_budgets(scores, policy) is not None:
            version = await publish(tenant, partial(_replace_budgets, scores))
            log.info("budgets_moved", tenant=tenant, version=version)


def _replace_budgets(scores: Mapping[str, Scores], policy: ScreenPolicy | None) -> ScreenPolicy | None:
    budgets = None if policy is None else choose_budgets(scores, policy)
    if policy is None or budgets is None:
        return None
    return policy.model_copy(update={"slice_budgets": {**policy.slice_budgets, **budgets}})


async def move_budgets_repeatedly(
    table: Mapping[str, Mapping[str, Any]],
    policies: Mapping[str, ScreenPolicy],
    publish: Callable[[str, Change], Awaitable[int]],
) -> None:
    """Move budgets every half minute, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await move_budgets(table, policies, publish)
