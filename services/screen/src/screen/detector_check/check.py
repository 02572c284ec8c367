"""Try a detector as it will be served: its card, its network, and its answers to pictures."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from screen.detector_check.alternative_cards import raise_doubts, suspect
from screen.detector_check.answer_checks import find_symptoms
from screen.detector_check.answer_summary import AnswerSummary, summarise_answer
from screen.detector_check.card_file import read_detector_card
from screen.detector_check.finding import Finding
from screen.detector_check.network import REFUSED, check_network, open_network, tensors_of
from screen.serving.answer import DetectorResult, Floats, WrongAnswer
from screen.serving.canvas import BadPicture, prepare
from screen.serving.card import Card
from screen.serving.detector import Detector

Picture = tuple[str, bytes]  # name and file
Tell = Callable[[Picture, DetectorResult | BadPicture], None]
DOUBTED = 16  # pictures that other cards are tried on
SAME = 1e-4  # how far what a network says of a picture may depend on the others of its batch


def open_detector_folder(folder: Path) -> Detector | list[Finding]:
    """Return the detector of a folder, or why it would not load. Only model.onnx and the card are there to it."""
    absent = [name for name in ("detector.json", "model.onnx") if not (folder / name).is_file()]
    if absent:
        return [Finding(f"{folder / name} is not there", "a detector is a folder with both") for name in absent]
    card = read_detector_card((folder / "detector.json").read_bytes())
    if not isinstance(card, Card):
        return card
    with tempfile.TemporaryDirectory() as alone:
        session = open_network(Path(shutil.copy(folder / "model.onnx", alone)))
    if isinstance(session, Finding):
        return [session]
    findings = check_network(card, tensors_of(session.get_inputs()), tensors_of(session.get_outputs()))
    return findings if any(finding.grave for finding in findings) else Detector(card, session)


def try_detector(detector: Detector, pictures: Iterable[Picture], tell: Tell, *, synthetic: bool) -> list[Finding]:
    """Show a detector pictures, one after another, and say what is wrong; `synthetic` ones cannot raise doubts."""
    inputs, outputs = (tensors_of(side) for side in (detector.session.get_inputs(), detector.session.get_outputs()))
    findings = check_network(detector.card, inputs, outputs)
    summaries, kept = list[AnswerSummary](), list[bytes]()
    try:
        findings += _ask_twice(detector)
        for name, encoded in pictures:
            if (summary := _try_picture(detector, (name, encoded), tell)) is not None:
                summaries.append(summary)
                kept += [encoded] if len(kept) < DOUBTED else []
        if not summaries:
            return [*findings, Finding("no picture could be read", "give --pictures a folder with JPEG or PNG files")]
        findings += find_symptoms(detector.card, summaries, synthetic)
        if not synthetic:
            findings += _check_alternatives(detector, kept, [summary.surest for summary in summaries[:DOUBTED]])
    except WrongAnswer as error:
        findings.append(Finding(str(error), "mend classes, family, objectness or no_object in the card"))
    except REFUSED as error:
        findings.append(Finding(f"the network fails on a picture: {str(error)[:300]}", "export it anew"))
    return findings


def _try_picture(detector: Detector, picture: Picture, tell: Tell) -> AnswerSummary | None:
    try:
        prepared = detector.prepare(picture[1])
    except BadPicture as error:
        tell(picture, error)
        return None
    (answer,) = detector.run_network([prepared])
    summary = summarise_answer(answer, detector.card, prepared)
    tell(picture, summary.result)
    return summary


def _ask_twice(detector: Detector) -> list[Finding]:
    """Judge noise alone, again, and beside a grey picture: it is the same picture each time."""
    shape = (detector.card.input_height, detector.card.input_width, 3)
    noise = prepare(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8), detector.card)
    grey = prepare(np.full(shape, 114, np.uint8), detector.card)
    first, again = detector.run_network([noise]), detector.run_network([noise])
    if any(not np.array_equal(first[0][role], again[0][role], equal_nan=True) for role in first[0]):
        return [Finding("it says something else of the same picture when asked again", "export it for inference")]
    try:
        beside = detector.run_network([grey, noise])[1:]
    except (*REFUSED, ValueError) as error:
        what = f"it takes one picture but not two at once ({' '.join(str(error).split())[:160]})"
        return [Finding(what, "export it with a free batch dimension (dynamic axes) on inputs and outputs")]
    if not beside or any(not _is_same(first[0][role], beside[0][role]) for role in first[0]):
        return [Finding("what it says of a picture depends on the others of its batch", "export it for inference")]
    return []


def _is_same(answer: Floats, other: Floats) -> bool:
    return answer.shape == other.shape and bool(np.allclose(answer, other, rtol=SAME, atol=SAME * 10, equal_nan=True))


def _check_alternatives(detector: Detector, kept: Sequence[bytes], as_is: Sequence[float]) -> list[Finding]:
    findings = []
    for doubt in raise_doubts(detector.card):
        other = Detector(doubt.other, detector.session)
        prepared = [other.prepare(encoded) for encoded in kept]
        surest = [summarise_answer(other.run_network([picture])[0], other.card, picture).surest for picture in prepared]
        if finding := suspect(doubt, detector.card, as_is, surest):
            findings.append(finding)
    return findings
