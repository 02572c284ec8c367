"""The demo's page in a real browser: everything it shows is there, and it says what it is."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page as BrowserPage
from playwright.async_api import async_playwright

from roadloop_schemas.frames import FrameScreened, ModelPair
from roadloop_world.demo import pages
from roadloop_world.demo.loop_state import ScreenedFrame
from roadloop_world.demo.pages import Page
from roadloop_world.demo.promises import Outcome, Promise
from roadloop_world.demo.show import Show
from roadloop_world.rendering.datasets import render_hard_frames
from tests.builders import make_detection, make_verdict

CHROMIUM = os.environ.get("ROADLOOP_CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH: install it, or set ROADLOOP_CHROMIUM"
)
REPORT: dict[str, Any] = {
    "received": 6,
    "ingested": 6,
    "fates": {"kept": 6, "dropped": 0, "quarantined": 0, "dead_lettered": 0},
    "reasons": {"score": 5, "audit": 1},
    "in_flight": 0,
    "labels": 4,
    "trained": 3,
    "runs": 1,
    "releases": 1,
    "refused_releases": 1,
    "repeated_requests": 7,
    "duplicates_seen": 0,
    "rollout": [
        {"stage": "version 1 serves", "frames": 4, "looked": 0, "judged": 0, "failed": 0, "kept": 1},
        {"stage": "version 2 judges 10% of units", "frames": 2, "looked": 0, "judged": 1, "failed": 0, "kept": 1},
    ],
    "map": {"v1": {"mean": 0.3, "night": 0.0}, "v2": {"mean": 0.6, "night": 0.1}},
    "balanced": True,
}


def verdict(number: int, condition: str) -> FrameScreened:
    return make_verdict(
        frame_id=f"frame-{number}",
        width_px=256,
        height_px=160,
        reasons=("audit",) if number == 0 else ("score",),
        slice=f"{condition}/front",
        condition=condition,
        models=ModelPair(name="detector.demo", version=2),
        score=0.9,
        score_parts={"uncertainty": 0.9, "low_top_score": 0.2},
        detections=(make_detection(score=0.8, x2=0.5, y2=0.5),),
    )


PROMISES = [
    Promise("the books balance", Outcome.HELD),
    Promise("a model was trained and released", Outcome.BROKEN, "training 3fa2c1 was refused by the gate: <too bad>"),
    Promise("the worse model was refused", Outcome.UNTRIED, "none was offered"),
]


@asynccontextmanager
async def browsing(page_file: Path, wrong: list[str]) -> AsyncIterator[BrowserPage]:
    """Open a page as somebody does who double-clicks the file; what the browser complains of is gathered."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("requestfailed", lambda request: wrong.append(request.url))
        await page.goto(page_file.as_uri())
        yield page
        await browser.close()


async def test_the_page_shows_every_picture_and_says_why(tmp_path: Path) -> None:
    hard = list(render_hard_frames(6, seed=3))
    pictures = {f"frame-{n}": frame.picture for n, frame in enumerate(hard)}
    frames = [ScreenedFrame("demo", verdict(n, frame.condition.value), n) for n, frame in enumerate(hard)]
    steps = [{"step": step, "loss": 1.0 / (step + 1)} for step in range(5)]
    page_file = pages.write(tmp_path, Page(REPORT, PROMISES, frames, steps), pictures)

    wrong: list[str] = []
    async with browsing(page_file, wrong) as page:
        for picture in await page.locator("img").all():
            await picture.scroll_into_view_if_needed()
            await page.wait_for_function(
                "image => image.complete && image.naturalWidth > 0", arg=await picture.element_handle()
            )
        said = await page.inner_text("body")
        shown = await page.locator("figure").count()
        broken, untried = [await page.inner_text(f".{outcome}") for outcome in ("broken", "untried")]
        reloads = await page.locator("meta[http-equiv=refresh]").count()

    assert wrong == []
    assert shown == 6
    assert "6 pictures came in, 6 were kept" in said
    assert broken == (
        "✗ did not hold: a model was trained and released (training 3fa2c1 was refused by the gate: <too bad>)"
    )
    assert untried == "… not tried: the worse model was refused (none was offered)"
    assert "7 inference requests were repeated" in said
    assert reloads == 0, "it is over"
    assert "The books balance" in said
    assert "drawn by lot, to check the screening itself" in said
    assert "score 0.90 over 0.50, most of it unsure" in said
    assert "version 2 judges 10% of units\t2\t0\t1\t0\t50.0 %" in said


async def test_who_drops_in_while_it_runs_sees_how_far_it_is_and_the_page_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "RELOAD_S", 1)
    empty = Show(tmp_path, "demo")
    page_file = empty.write(empty.make_page(now="servers and services start")[0])
    wrong: list[str] = []
    async with browsing(page_file, wrong) as page:
        assert "It runs: servers and services start" in await page.inner_text("[role=status]")
        assert await page.locator(".broken").count() == 0, "what was not tried yet is not broken"
        assert await page.locator(".untried").count() == 11
        frame = next(iter(render_hard_frames(1, seed=3)))
        later = Page(REPORT, PROMISES, [ScreenedFrame("demo", verdict(0, "night"), 0)], [{"step": 1, "loss": 0.5}])
        pages.write(tmp_path, later, {"frame-0": frame.picture})
        await page.wait_for_selector("figure", timeout=60_000)
        assert await page.locator("[role=status]").count() == 0
    assert wrong == []
