"""The truth of a whole stream: which frames are hard, useless, the same again; and which errors are one event. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from learning.configuration import Meaning
from learning.look import Predictions
from learning.stream import Moment
from learning.truth import Errors, errors

TYPES = ("missed", "ghosts", "swapped")
_NO_ERRORS = Errors(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Answers:
    """The truth of a stream's n frames.

    `errors` [n, 4]: missed, ghosts, swapped, silent; none on a useless frame, which nobody could label. `scenes` [n]
    are equal where a vehicle stood still: such frames count once. `drives`, `moments` [n]: which drive, and which of
    its moments. `slices` [n]: the true condition. `donors` [n]: whose errors a frame
    has, its own unless they were shuffled.
    """

    errors: NDArray[np.int64]
    hard_errors: int
    scenes: NDArray[np.int64]
    drives: NDArray[np.int64]
    moments: NDArray[np.int64]
    useless: NDArray[np.bool_]
    slices: NDArray[np.str_]
    donors: NDArray[np.int64]

    @property
    def totals(self) -> NDArray[np.int64]:
        """Return how many errors each frame has."""
        total: NDArray[np.int64] = self.errors[:, :3].sum(1)
        return total

    @property
    def hard(self) -> NDArray[np.bool_]:
        return self.totals >= self.hard_errors

    @property
    def silent(self) -> NDArray[np.bool_]:
        """Say which hard frames have something that neither model saw."""
        return self.hard & (self.errors[:, 3] > 0)

    def shuffle(self, seed: int) -> "Answers":
        """Return the same with all scenes' errors dealt out anew: nothing can be learned, so no chooser may win."""
        usable = np.flatnonzero(~self.useless)
        _, firsts, scene_numbers = np.unique(self.scenes[usable], return_index=True, return_inverse=True)
        donor_frames = np.random.default_rng([seed, 19]).permutation(firsts)
        donors = self.donors.copy()
        donors[usable] = usable[donor_frames[scene_numbers]]
        return replace(self, errors=self.errors[donors], donors=donors)


def answer(stream: Sequence[Moment], predictions: Predictions, meaning: Meaning, *, second: bool = False) -> Answers:
    """Return a stream's truth, of the serving model or of the `second` one."""
    ours, theirs = ("theirs", "ours") if second else ("ours", "theirs")
    errors_by_frame = [
        _NO_ERRORS
        if moment.shown.useless
        else errors(
            predictions.of(ours, at),
            predictions.of(theirs, at),
            predictions.of("truth", at),
            predictions.of("unlabelable", at),
            meaning,
        )
        for at, moment in enumerate(stream)
    ]
    drives = np.array([moment.drive.number for moment in stream])
    moments = np.array([moment.scene for moment in stream])
    return Answers(
        np.array(errors_by_frame, np.int64).reshape(-1, 4),
        meaning.hard_errors,
        drives * 100_000 + moments,
        drives,
        moments,
        np.array([moment.shown.useless is not None for moment in stream]),
        np.array([moment.segment.condition.value for moment in stream]),
        np.arange(len(stream)),
    )


def find_events(answers: Answers, gap: int) -> list[list[int]]:
    """Return the frames of each event: one type of error in the hard frames of a drive, one after the other.

    `gap` moments without it do not end an event; frames of one scene are in it together.
    """
    frames_by_event: list[list[int]] = []
    for kind in range(len(TYPES)):
        wrong = answers.hard & (answers.errors[:, kind] > 0)
        order = np.flatnonzero(wrong)[np.lexsort((answers.moments[wrong], answers.drives[wrong]))]
        frames_by_event += _split_events(order.tolist(), answers, gap)
    return frames_by_event


def _split_events(order: Sequence[int], answers: Answers, gap: int) -> Iterator[list[int]]:
    run: list[int] = []
    for frame in order:
        if run and not _follows(run[-1], frame, answers, gap):
            yield run
            run = []
        run.append(frame)
    if run:
        yield run


def _follows(frame: int, next_frame: int, answers: Answers, gap: int) -> bool:
    same_drive = answers.drives[frame] == answers.drives[next_frame]
    return bool(same_drive and answers.moments[next_frame] - answers.moments[frame] <= gap + 1)
