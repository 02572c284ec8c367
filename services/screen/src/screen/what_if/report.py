"""The answer to a what-if, for people and for programs. Pure."""

from dataclasses import asdict
from typing import Any

from screen.what_if.rejudge import Answer, SliceAnswer

TITLES = ("slice", "frames", "kept", "would be kept", "label seconds", "hard frames of the audit missed")

OLDER = ", for they are from before verdicts carried what pictures are compared by; later ones do not know of them"


def rows_of(answer: Answer) -> list[tuple[str, ...]]:
    """Return a row per slice, and one for all of them, under `TITLES`."""
    total = SliceAnswer()
    for found in answer.slices.values():
        total.add(found)
    rows = [(name, *_cells(found)) for name, found in sorted(answer.slices.items())]
    return [*rows, ("(all)", *_cells(total))]


def remarks(answer: Answer) -> str:
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


def _cells(found: SliceAnswer) -> tuple[str, ...]:
    now, then = found.label_seconds(found.kept_now), found.label_seconds(found.kept_then)
    counts = (found.seen, found.kept_now, found.kept_then)
    missed = f"{found.hard - found.found_now} -> {found.hard - found.found_then} of {found.hard}"
    return (*map(str, counts), f"{now:.0f} -> {then:.0f}", missed)


def answer_as_json(answer: Answer) -> dict[str, Any]:
    """Return the answer for programs."""
    said = asdict(answer)
    for name, found in answer.slices.items():
        said["slices"][name] |= {
            "label_seconds_now": round(found.label_seconds(found.kept_now), 1),
            "label_seconds_then": round(found.label_seconds(found.kept_then), 1),
        }
    return said
