"""Sample what the code makes of the task: frames of the tuning seeds, and what counts as hard in drawn predictions.

Digests are over what is made, never over the code: another name for a function is the same task, another shade of a
window is not.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.random import Generator, default_rng

from learning.answers import Answers, answer, find_events
from learning.configuration import TUNING_SEEDS, Meaning, Streams, digest
from learning.look import DETECTORS, Predictions, Rows, join_ragged
from learning.stream import Drive, Moment, Segment, moments, render
from roadloop_world.rendering.drives import TruthBox
from roadloop_world.rendering.scenes import Condition, RoadUser, Scene, Useless
from roadloop_world.rendering.shapes import Image

MOMENTS_OF_A_KIND = 30  # of each condition and of each way to be useless, for each seed
DRAWN_FRAMES = 600
GRID = 16  # drawn corners are multiples of 1/16: overlaps are exact, and many are exactly at a limit


def compute_streams_digest(streams: Streams) -> str:
    """Return the digest of what predictions for such streams are made from: sampled frames, and both networks."""
    frames = hashlib.sha256()
    for frame in render_sample(streams):
        frames.update(frame)
    networks = [(DETECTORS / name / "model.onnx").read_bytes() for name in (streams.serving, streams.second)]
    return digest(streams, frames.digest(), *networks)


def render_sample(streams: Streams) -> Iterator[bytes]:
    """Yield frames of the tuning seeds: the moment, its truth and its picture made small."""
    for seed in TUNING_SEEDS:
        for moment in sample_moments(moments(seed, streams)):
            frame = render(moment)
            truth = [_list_boxes(frame.boxes), _list_boxes(frame.unlabelable)]
            yield json.dumps([_list_values(moment), truth]).encode() + shrink(frame.image).tobytes()


def shrink(image: Image) -> Image:
    """Return the means of blocks of 8 x 8 pixels, rounded down: a change of a drawing moves some of many.

    OpenCV turns ramps by what instructions a processor has, and then one value in 40 million is one grey level off.
    """
    height, width, colours = image.shape
    return np.asarray(image.reshape(height // 8, 8, width // 8, 8, colours).mean((1, 3)), np.uint8)


def sample_moments(stream: Iterable[Moment]) -> list[Moment]:
    """Return moments from all over a stream, as many of what is rare as of what is usual."""
    by_kind: dict[str, list[Moment]] = defaultdict(list)
    for moment in stream:
        by_kind[moment.shown.useless or moment.segment.condition.value].append(moment)
    return [moment for _, kind in sorted(by_kind.items()) for moment in _spread(kind)]


def _spread(kind: list[Moment]) -> list[Moment]:
    return kind[:: max(1, len(kind) // MOMENTS_OF_A_KIND)][:MOMENTS_OF_A_KIND]


def _list_values(moment: Moment) -> list[object]:
    drive, segment, shown = moment.drive, moment.segment, moment.shown
    return [
        (drive.number, drive.seed, drive.vehicle, drive.camera, drive.stands, len(drive.segments)),
        (segment.condition.value, segment.reported, segment.frames, segment.empty),
        (shown.index, shown.offset_s, shown.travelled_m, shown.standing, shown.useless),
        [_list_user_values(user) for user in shown.users],
        (moment.scene, moment.place),
    ]


def _list_user_values(user: RoadUser) -> list[object]:
    place = (user.across_m, user.ahead_m, user.width_m, user.height_m)
    return [user.class_name, user.view.value, place, user.across_speed, user.ahead_speed, user.paint, user.accent]


def _list_boxes(boxes: Iterable[TruthBox]) -> list[object]:
    return [(box.class_name, box.x1, box.y1, box.x2, box.y2) for box in boxes]


def judge_drawn_predictions(meaning: Meaning) -> bytes:
    """Return what counts as an error, as hard, as silent and as one event in drawn predictions, for both models."""
    stream, predictions = draw_stream(), draw_predictions(default_rng(7))
    both = [answer(stream, predictions, meaning, second=second) for second in (False, True)]
    return json.dumps([_list_answers(answers, meaning) for answers in both]).encode()


def _list_answers(answers: Answers, meaning: Meaning) -> list[object]:
    per_frame = (answers.errors, answers.hard, answers.silent, answers.useless, answers.scenes, answers.slices)
    return [*(array.tolist() for array in per_frame), find_events(answers, meaning.event_gap)]


def draw_stream() -> list[Moment]:
    """Return moments of four drives in turn: each stands at every fifth of its own, and each eleventh is useless."""
    drives = [
        Drive(number, number, number, "front", True, (Segment(condition, "clear", DRAWN_FRAMES, False),))
        for number, condition in enumerate((Condition.CLEAR, Condition.NIGHT, Condition.RAIN, Condition.TUNNEL))
    ]
    stream = []
    for index in range(DRAWN_FRAMES):
        place, drive = divmod(index, len(drives))
        useless: Useless | None = "blur" if index % 11 == 10 else None
        shown = Scene(place, place / 2, 0.0, place % 5 == 4, useless, ())
        stream.append(Moment(drives[drive], drives[drive].segments[0], shown, place - (place + 1) // 5, place))
    return stream


def draw_predictions(rng: Generator) -> Predictions:
    """Return truth, and detections near it, beside it and nowhere near it, with scores of all hundredths."""
    truth = [_draw_boxes(rng, 5) for _ in range(DRAWN_FRAMES)]
    unlabelable = [_draw_boxes(rng, 2) for _ in range(DRAWN_FRAMES)]
    ours, theirs = (
        [_draw_detections(rng, np.concatenate(boxes)) for boxes in zip(truth, unlabelable, strict=True)]
        for _ in range(2)
    )
    vectors, numbers = np.zeros((DRAWN_FRAMES, 1), np.float16), np.zeros(DRAWN_FRAMES)
    return Predictions(
        *join_ragged(ours),
        vectors,
        *join_ragged(theirs),
        *join_ragged(truth),
        *join_ragged(unlabelable),
        vectors,
        vectors,
        numbers.astype(np.uint64),
        numbers,
        numbers,
    )


def _draw_boxes(rng: Generator, most: int) -> Rows:
    count = int(rng.integers(0, most + 1))
    low, size = rng.integers(0, GRID // 2, (count, 2)), rng.integers(2, GRID // 2 + 1, (count, 2))
    classes = rng.integers(0, 2, (count, 1))
    return np.hstack([low / GRID, (low + size) / GRID, classes]).astype(np.float32)


def _draw_detections(rng: Generator, boxes: Rows) -> Rows:
    """Return a detection near most boxes, some of another class, and up to two more anywhere."""
    seen = boxes[rng.random(len(boxes)) < 0.8]
    seen = np.concatenate([seen, seen[rng.random(len(seen)) < 0.2], _draw_boxes(rng, 2)])
    corners = seen[:, :4] + rng.integers(-1, 2, (len(seen), 4)) / GRID
    scores = rng.integers(0, 100, (len(seen), 1)) / 100
    classes = np.where(rng.random((len(seen), 1)) < 0.2, 1 - seen[:, 4:], seen[:, 4:])
    return np.hstack([corners, scores, classes]).astype(np.float32)
