"""The answer to a what-if, for people and for programs. Pure."""

from dataclasses import asdict
from typing import Any

from screen.what_if.rejudge import Answer, SliceAnswer

TITLES = ("slice", "frames", "kept", "would be kept", "label seconds", "hard frames of the audit missed")

OLDER = ", for they are from before verdicts carried what pictures are compared by; later ones do not know of them"


def rows_of(answer: Answer) -> list[tuple[str, ...]]:
    """Return a row per slice, and one for all of them, under `TITLES`."""
    total = SliceAnswer()
    for slice_answer in answer.slices.values():
        total.add(slice_answer)
    rows = [(name, *_make_cells(slice_answer)) for name, slice_answer in sorted(answer.slices.items())]
    return [*rows, ("(all)", *_make_cells(total))]


def make_remarks(answer: Answer) -> str:
    """Return what the table does not say."""
    lines = [
        f"gained, for example: {' '.join(answer.gained) or '-'}",
        f"lost, for example: {' '.join(answer.lost) or '-'}",
    ]
    if answer.left_out:
        lines.append(f"{answer.left_out} verdicts are from before they carried what they were decided from: left out")
    if answer.approximate:
        lines.append(
            f"{answer.approximate} of {answer.judged} are approximate: judged with recorded novelty and duplicates"
            + (OLDER if answer.exact else " (--exact compares pictures anew)")
        )
    lines.append(
        f"{answer.differing} of {answer.judged} verdicts differ from the recorded ones"
        + (f", the first one of {answer.first_differing}" if answer.differing else "")
    )
    return "\n".join(lines)


def _make_cells(frames: SliceAnswer) -> tuple[str, ...]:
    now, then = frames.label_seconds(frames.kept_now), frames.label_seconds(frames.kept_then)
    counts = (frames.seen, frames.kept_now, frames.kept_then)
    missed = f"{frames.hard - frames.found_now} -> {frames.hard - frames.found_then} of {frames.hard}"
    return (*map(str, counts), f"{now:.0f} -> {then:.0f}", missed)


def answer_as_json(answer: Answer) -> dict[str, Any]:
    """Return the answer for programs."""
    content = asdict(answer)
    for name, slice_answer in answer.slices.items():
        content["slices"][name] |= {
            "label_seconds_now": round(slice_answer.label_seconds(slice_answer.kept_now), 1),
            "label_seconds_then": round(slice_answer.label_seconds(slice_answer.kept_then), 1),
        }
    return content
