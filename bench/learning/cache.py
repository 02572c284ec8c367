"""Looks at streams, kept under build/: rendered and judged once, by two processes, and taken up where they stopped."""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from threading import Event
from time import monotonic

import numpy as np

from learning import stream
from learning.configuration import Streams, digest
from learning.look import DETECTORS, Predictions, load, look
from roadloop_world.rendering import backdrops, drives, road_users, scenes, shapes, weather

WORKERS = 2
EVERY_S = 2.0
RENDERER = (backdrops, shapes, drives, road_users, scenes, weather, stream)


def what_streams_stand_on(asked: Streams) -> list[bytes]:
    """Return the sources of the renderer and the networks: other ones make other streams."""
    sources = [Path(str(module.__file__)).read_bytes() for module in RENDERER]
    return [*sources, *((DETECTORS / name / "model.onnx").read_bytes() for name in (asked.serving, asked.second))]


def folder_of(folder: Path, asked: Streams) -> Path:
    """Return where the looks at such streams are kept."""
    return folder / digest(asked, *what_streams_stand_on(asked))[:16]


def looks(
    folder: Path, asked: Streams, seeds: Sequence[int], report: Callable[[str], None]
) -> Callable[[int], Predictions]:
    """Return what gives a seed's looks, after all seeds that are not in the cache were rendered and judged."""
    held = folder_of(folder, asked)
    held.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not (held / f"{seed}.npz").exists()]
    if missing:
        report(f"rendering and judging {len(missing)} streams of {asked.frames} frames; what is done stays in {held}")
        _look_at_all(held, asked, missing)
    return lambda seed: load(held / f"{seed}.npz")


def _look_at_all(held: Path, asked: Streams, seeds: Sequence[int]) -> None:
    context = get_context("spawn")
    done = context.Value("q", 0)
    with ProcessPoolExecutor(WORKERS, context, _begin, (done,)) as pool:
        waiting = [pool.submit(_look_at_one, held, asked, seed) for seed in seeds]
        _show_progress(done, len(seeds) * asked.frames, lambda: all(one.done() for one in waiting))
        for one in waiting:
            one.result()


_seen: "Synchronized[int]"


def _begin(done: "Synchronized[int]") -> None:
    global _seen  # noqa: PLW0603 -- a worker process gets its counter once, when it begins
    _seen = done
    os.nice(19)


def _look_at_one(held: Path, asked: Streams, seed: int) -> None:
    found = look(seed, asked, _count)
    begun = held / f"{seed}.part.npz"
    np.savez(begun, **{field.name: getattr(found, field.name) for field in fields(Predictions)})
    begun.rename(held / f"{seed}.npz")


def _count(frames: int) -> None:
    with _seen.get_lock():
        _seen.value += frames


def _show_progress(done: "Synchronized[int]", frames: int, is_over: Callable[[], bool]) -> None:
    pause, began, width = Event(), monotonic(), 40
    while not is_over():
        pause.wait(EVERY_S)
        share = done.value / frames
        left_s = (monotonic() - began) * (1 - share) / share if share else float("inf")
        bar = "#" * round(width * share)
        sys.stderr.write(f"\r[{bar:<{width}}] {done.value}/{frames} frames, {left_s:.0f} s left ")
        sys.stderr.flush()
    sys.stderr.write("\n")
