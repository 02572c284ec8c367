"""Predictions for streams, kept under build/: made once, by two processes, and taken up where they stopped."""

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

from learning.configuration import Streams
from learning.look import Predictions, load, look
from learning.sample import compute_streams_digest

WORKERS = 2
EVERY_S = 2.0


def folder_of(folder: Path, streams: Streams) -> Path:
    """Return where the predictions for such streams are kept; it takes seconds to say."""
    return folder / compute_streams_digest(streams)[:16]


def open_predictions(
    cache: Path, streams: Streams, seeds: Sequence[int], report: Callable[[str], None]
) -> Callable[[int], Predictions]:
    """Return what gives a seed's predictions, after all seeds that are not in the cache were rendered and judged."""
    cache.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not (cache / f"{seed}.npz").exists()]
    if missing:
        report(
            f"rendering and judging {len(missing)} streams of {streams.frames} frames; what is done stays in {cache}"
        )
        _look_at_all(cache, streams, missing)
    return lambda seed: load(cache / f"{seed}.npz")


def _look_at_all(cache: Path, streams: Streams, seeds: Sequence[int]) -> None:
    context = get_context("spawn")
    frames_done = context.Value("q", 0)
    with ProcessPoolExecutor(WORKERS, context, _begin, (frames_done,)) as pool:
        futures = [pool.submit(_look_at_one, cache, streams, seed) for seed in seeds]
        _show_progress(frames_done, len(seeds) * streams.frames, lambda: all(future.done() for future in futures))
        for future in futures:
            future.result()


_frames_done: "Synchronized[int]"


def _begin(frames_done: "Synchronized[int]") -> None:
    global _frames_done  # noqa: PLW0603 -- a worker process gets its counter once, when it begins
    _frames_done = frames_done
    os.nice(19)


def _look_at_one(cache: Path, streams: Streams, seed: int) -> None:
    predictions = look(seed, streams, _count)
    unfinished = cache / f"{seed}.part.npz"
    np.savez(unfinished, **{field.name: getattr(predictions, field.name) for field in fields(Predictions)})
    unfinished.rename(cache / f"{seed}.npz")


def _count(frames: int) -> None:
    with _frames_done.get_lock():
        _frames_done.value += frames


def _show_progress(frames_done: "Synchronized[int]", frames: int, is_over: Callable[[], bool]) -> None:
    pause, began, width = Event(), monotonic(), 40
    while not is_over():
        pause.wait(EVERY_S)
        share = frames_done.value / frames
        left_s = (monotonic() - began) * (1 - share) / share if share else float("inf")
        bar = "#" * round(width * share)
        sys.stderr.write(f"\r[{bar:<{width}}] {frames_done.value}/{frames} frames, {left_s:.0f} s left ")
        sys.stderr.flush()
    sys.stderr.write("\n")
