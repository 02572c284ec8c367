"""Read a card strictly: what an event's reader rightly ignores is, in a file that a person wrote, a mistake."""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from roadloop_runtime.cli.terminal import Refused
from roadloop_schemas.models import DetectorCard
from screen.detector_check.finding import Finding
from screen.serving.card import FAMILIES, OPTIONAL_TENSOR, Card, read_card

CARD = "detector.json"
NO_MEANING = {  # fields that a family does not ask for
    "roadloop": ("activation", "no_object", "objectness"),
    "nanodet": ("objectness",),
    "detr": ("objectness",),
}
AS_IT_IS = ("scale", "mean", "std")  # have no meaning where pixels are given as uint8


def detector_folder(card: Path) -> Path:
    """Return the folder of a card, which may be named itself or by its file. Raises Refused for another file."""
    if card.is_file() and card.name != CARD:
        raise Refused(f"{card} is no card: it is called {CARD} and lies beside its model.onnx; name it or their folder")
    return card.parent if card.is_file() else card


def read_detector_card(text: bytes) -> Card | list[Finding]:
    """Return what a card says, or all that is wrong with it."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [Finding(f"detector.json is no JSON: {error}", "mend it at the place named")]
    if not isinstance(content, dict):
        return [Finding(f"detector.json holds a {type(content).__name__}", "write a JSON object, as in the README")]
    findings = [*_check_names(content), *_check_values(content)]
    if findings:
        return findings
    card = read_card(DetectorCard.model_validate(content).model_dump())
    findings = [*_check_meaning(content, card), *_check_classes(card)]
    return findings or card


def _check_names(content: Mapping[str, Any]) -> Iterator[Finding]:
    for name in sorted(content.keys() - DetectorCard.model_fields.keys()):
        yield Finding(f"{name!r} is no field of a card", _suggest(name, DetectorCard.model_fields))
    family = content.get("family")
    if not isinstance(family, str):
        return
    if family not in FAMILIES:
        yield Finding(f"family {family!r} is not known", _suggest(family, FAMILIES))
        return
    tensors = content.get("tensors")
    roles = (*FAMILIES[family]["tensors"], OPTIONAL_TENSOR)
    for role in sorted(tensors.keys() - set(roles)) if isinstance(tensors, dict) else ():
        yield Finding(f"tensors: {role!r} is nothing that {family} has", _suggest(role, dict.fromkeys(roles)))


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"write {close[0]!r}" if close else f"take one of {', '.join(known)}"


def _check_values(content: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        DetectorCard.model_validate(content)
    except ValidationError as error:
        for error_details in error.errors(include_url=False, include_context=False):
            place = ".".join(map(str, error_details["loc"]))
            missing = error_details["type"] == "missing"
            problem = "is missing" if missing else f"is {json.dumps(error_details['input'], default=str)[:80]}"
            yield Finding(f"{place} {problem}", "add it" if missing else error_details["msg"])


def _check_meaning(content: Mapping[str, Any], card: Card) -> Iterator[Finding]:
    given = {name for name, value in content.items() if value not in (None, False, "none")}
    for name in sorted(given.intersection(NO_MEANING.get(card.family, ()))):
        yield Finding(f"{name} means nothing to the family {card.family}", "take it out, or name another family")
    for name in AS_IT_IS if card.dtype == "uint8" else ():
        if name in given:
            yield Finding(f"{name} has no effect: as uint8 the network is given the pixels themselves", "take it out")


def _check_classes(card: Card) -> Iterator[Finding]:
    for name in sorted({name for name in card.classes if card.classes.count(name) > 1}):
        yield Finding(f"classes: {name!r} is there {card.classes.count(name)} times", "name each class once")
