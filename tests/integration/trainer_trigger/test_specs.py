"""Specs over HTTP and by commands: what is wrong with one is said, and older ones keep their meaning."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from roadloop_runtime.cli.root import app as root
from trainer_trigger import commands
from trainer_trigger.http import Dependencies, make_app
from trainer_trigger.tables import spec_table
from trainer_trigger.tables.spec import INSTEAD

from .conftest import DETECTORS, NOW, Bench, put_set

pytestmark = pytest.mark.integration


def command(bench: Bench, *arguments: str) -> str:
    if not root.registered_groups or all(group.name != "specs" for group in root.registered_groups):
        commands.register(root)
    access_key, secret_key = bench.stack.s3_keys("trainer-trigger")
    env = {
        "ROADLOOP_POSTGRES_DSN": bench.dsn,
        "ROADLOOP_S3_ENDPOINT": bench.stack.s3_endpoint,
        "ROADLOOP_S3_ACCESS_KEY": access_key,
        "ROADLOOP_S3_SECRET_KEY": secret_key,
    }
    return CliRunner().invoke(root, list(arguments), env=env).output.strip()


async def test_a_researcher_puts_a_spec_and_is_told_what_is_wrong_with_it(bench: Bench) -> None:
    await bench.serve("v0")
    enrol = ("researchers", "enrol", "--tenant", bench.tenant, "--name", "ann")
    token = await asyncio.to_thread(command, bench, *enrol)
    assert "revoke it first" in await asyncio.to_thread(command, bench, *enrol)
    app = make_app(Dependencies(bench.pool, bench.needs.store, "datasets", "models", lambda: NOW))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
    client.headers["authorization"] = f"Bearer {token}"
    async with client:
        await _check_specs(bench, client)
        shown = (await client.get(f"/v1/models/{bench.model}")).json()
        assert [(v["version"], v["serves"]) for v in shown["versions"]] == [(1, True)]
        assert (await client.get("/v1/runs")).json() == {"runs": []}
        revoke = ("researchers", "revoke", "--tenant", bench.tenant, "--name", "ann")
        assert "revoked" in await asyncio.to_thread(command, bench, *revoke)
        refused = await client.get("/v1/runs")
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthenticated")


async def _check_specs(bench: Bench, client: httpx.AsyncClient) -> None:
    good = bench.spec.model_dump(mode="json")
    base = good["base_set"]
    other = await put_set(bench.needs.store, bench.tenant, b"no zip")
    cases = [
        ({"steps": 0}, "invalid-request"),
        ({"base_set": base | {"sha256": "0" * 64}}, "object_changed"),
        ({"base_set": base | {"uri": f"s3://datasets/{bench.tenant}/nothing.zip"}}, "object_missing"),
        ({"base_set": base | {"uri": "s3://datasets/other/base.zip"}}, "foreign_object"),
        ({"base_set": other.model_dump()}, "no_zip"),
        ({"validation_set": base}, "no_lines"),
    ]
    for change, reason in cases:
        answer = await client.put(f"/v1/specs/{bench.model}", json=good | change)
        assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{reason.replace('_', '-')}"), (
            answer.text
        )
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await client.put("/v1/specs/detector.other", json=good)).status_code == 404
    assert (await client.get(f"/v1/specs/{bench.model}")).status_code == 404
    answer = await client.put(f"/v1/specs/{bench.model}", json=good)
    assert (answer.json(), answer.headers.get("warning")) == (good, None)
    assert (await client.get(f"/v1/specs/{bench.model}")).json() == good
    older = {name: value for name, value in good.items() if name not in ("patience", "hang_after_s")}
    answer = await client.put(f"/v1/specs/{bench.model}", json=older | {"max_seconds": 900})
    assert answer.json() == good | {"hang_after_s": 900}
    assert answer.headers["warning"].startswith('299 - "max_seconds: seconds end no training any more')


async def test_a_spec_that_an_older_version_stored_is_renewed_once_and_means_a_guard(bench: Bench) -> None:
    await bench.serve("v0")
    spec = await bench.set_spec()
    older = json.loads(spec.model_dump_json()) | {"max_seconds": 60.0}
    del older["hang_after_s"], older["patience"]
    await bench.pool.execute("update specs set body = $2 where model = $1", bench.model, json.dumps(older))
    before = await spec_table.get(bench.pool, bench.model)
    assert before is not None
    assert before.model_dump() == spec.model_dump(), "it counts before it is renewed, too"
    assert await spec_table.renew(bench.pool) == [bench.model]
    assert await spec_table.renew(bench.pool) == []
    assert json.loads(await bench.pool.fetchval("select body from specs")) == json.loads(spec.model_dump_json())


async def test_the_commands_seed_once_set_a_spec_and_list(
    bench: Bench, sets: tuple[bytes, bytes], tmp_path: Path
) -> None:
    names = ("--tenant", bench.tenant, "--model", bench.model)
    seed = ("models", "seed", *names, "--folder", str(DETECTORS / "v0"))
    assert await asyncio.to_thread(command, bench, *seed) == f"released {bench.model} version 1"
    assert "offer the folder instead" in await asyncio.to_thread(command, bench, *seed)
    for name, content in zip(("base.zip", "validation.zip"), sets, strict=True):
        (tmp_path / name).write_bytes(content)
    paths = ("--base-set", str(tmp_path / "base.zip"), "--validation-set", str(tmp_path / "validation.zip"))
    effort = ("--min-labels", "10", "--steps", "5", "--max-seconds", "60")  # as older scripts have it
    said = await asyncio.to_thread(command, bench, "specs", "set", *names, *paths, *effort)
    assert said.splitlines() == [
        f"{bench.model} trains from 10 new labels on",
        f"--max-seconds: {INSTEAD}",
    ]
    listed = json.loads(await asyncio.to_thread(command, bench, "models", "list", "--all", "--json"))
    assert [(item["model"], item["version"], item["serves"]) for item in listed] == [(bench.model, 1, False)]
    assert json.loads(await asyncio.to_thread(command, bench, "runs", "list", "--json")) == []
