"""Look at a stream as the services do: what ingest measures, and what the served detectors answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.measure import Measured, measure
from learning.configuration import Streams
from learning.stream import Moment, moments, render
from roadloop_world.rendering.drives import TruthBox, encode_jpeg
from roadloop_world.rendering.scenes import CLASSES
from screen.serving.answer import DetectorResult
from screen.serving.detector import Detector, open_detector

DETECTORS = Path(__file__).resolve().parents[2] / "services" / "trainer-trigger" / "detectors"
AT_ONCE = 16

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What is known of a stream's n frames. Boxes of all frames lie one after the other; `*_ends` says where each ends.

    `ours`, `theirs` [*, 6]: x1, y1, x2, y2 in 0..1, score, class index; `probabilities` [*, 7] of `ours`;
    `truth`, `unlabelable` [*, 5]: corners and class index. `*_embedding` [n, D].
    """

    ours: Rows
    ours_ends: NDArray[np.int64]
    probabilities: NDArray[np.float16]
    theirs: Rows
    theirs_ends: NDArray[np.int64]
    truth: Rows
    truth_ends: NDArray[np.int64]
    unlabelable: Rows
    unlabelable_ends: NDArray[np.int64]
    our_embedding: NDArray[np.float16]
    their_embedding: NDArray[np.float16]
    dhash: NDArray[np.uint64]
    laplacian_variance: NDArray[np.float64]
    brightness: NDArray[np.float64]

    def of(self, name: str, index: int) -> Rows:
        """Return the rows of one frame: of `ours`, `theirs`, `truth`, `unlabelable` or `probabilities`."""
        ends = getattr(self, f"{'ours' if name == 'probabilities' else name}_ends")
        rows: Rows = getattr(self, name)[ends[index - 1] if index else 0 : ends[index]]
        return rows


def load(path: Path) -> Predictions:
    with np.load(path) as arrays:
        return Predictions(**{field.name: arrays[field.name] for field in fields(Predictions)})


def look(seed: int, streams: Streams, report: Callable[[int], None]) -> Predictions:
    """Render a stream and let both detectors judge it; `report` is told how many more frames are done."""
    detectors = [
        open_detector(DETECTORS / name, ["CPUExecutionProvider"]) for name in (streams.serving, streams.second)
    ]
    stream = moments(seed, streams)
    looks = [frame_look for batch in _look_in_turn(stream, detectors, report) for frame_look in batch]
    return _put_together(looks)


@dataclass(frozen=True, slots=True)
class _Look:
    measured: Measured
    results: tuple[DetectorResult, ...]
    truth: Rows
    unlabelable: Rows


def _look_in_turn(
    stream: Sequence[Moment], detectors: Sequence[Detector], report: Callable[[int], None]
) -> Iterator[list[_Look]]:
    for start in range(0, len(stream), AT_ONCE):
        frames = [render(moment) for moment in stream[start : start + AT_ONCE]]
        pictures = [encode_jpeg(frame) for frame in frames]
        answers = [detector.detect([detector.prepare(encoded) for encoded in pictures]) for detector in detectors]
        yield [
            _Look(_measure(encoded), results, _make_rows(frame.boxes), _make_rows(frame.unlabelable))
            for frame, encoded, results in zip(frames, pictures, zip(*answers, strict=True), strict=True)
        ]
        report(len(frames))


def _measure(encoded: bytes) -> Measured:
    measured = measure(encoded)
    if not isinstance(measured, Measured):
        raise TypeError(f"ingest refuses a rendered picture: {measured.detail}")
    return measured


def _make_rows(boxes: Sequence[TruthBox]) -> Rows:
    rows = [(box.x1, box.y1, box.x2, box.y2, CLASSES.index(box.class_name)) for box in boxes]
    return np.array(rows, np.float32).reshape(-1, 5)


def _put_together(looks: Sequence[_Look]) -> Predictions:
    ours, theirs = ([look.results[place] for look in looks] for place in (0, 1))
    measured = [look.measured for look in looks]
    return Predictions(
        *join_ragged([result.detections for result in ours]),
        np.concatenate([result.probabilities for result in ours]).astype(np.float16),
        *join_ragged([result.detections for result in theirs]),
        *join_ragged([look.truth for look in looks]),
        *join_ragged([look.unlabelable for look in looks]),
        np.stack([result.embedding for result in ours]).astype(np.float16),
        np.stack([result.embedding for result in theirs]).astype(np.float16),
        np.array([int(each.dhash, 16) for each in measured], np.uint64),
        np.array([each.laplacian_variance for each in measured]),
        np.array([each.brightness for each in measured]),
    )


def join_ragged(parts: Sequence[Rows]) -> tuple[Rows, NDArray[np.int64]]:
    """Return the rows of all frames one after the other, and where each frame's end."""
    return np.concatenate(parts), np.cumsum([len(part) for part in parts])
