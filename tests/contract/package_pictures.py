"""Draw the packages of services from their imports, for ARCHITECTURE.md.

Run `python -m tests.contract.package_pictures` where the test of it says that a picture is old.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp

PAGE = Path(__file__).parents[2] / "ARCHITECTURE.md"
DRAWN = ("screen", "roadloop_runtime", "trainer_trigger")
PICTURE = re.compile(r"<!-- packages of (\w+) -->\n.*?<!-- end -->", re.DOTALL)
Uses = Mapping[str, set[str]]


def uses_of(graph: grimp.ImportGraph, top: str) -> dict[str, set[str]]:
    """Return which of a service's packages and root modules import which others directly."""
    parts = {part: {part, *graph.find_descendants(part)} for part in graph.find_children(top)}
    imported = {
        part: {found for module in modules for found in graph.find_modules_directly_imported_by(module)}
        for part, modules in parts.items()
    }
    return {
        _short(part): {_short(other) for other in parts if other != part and imported[part] & parts[other]}
        for part in parts
    }


def reduced(uses: Uses) -> dict[str, set[str]]:
    """Leave out what follows: an arrow to what another arrow's end leads to, too."""
    return {
        part: {other for other in direct if not any(other in _reached(uses, via) for via in direct if via != other)}
        for part, direct in uses.items()
    }


def _reached(uses: Uses, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for other in uses[waiting.pop()] - reached:
            reached.add(other)
            waiting.append(other)
    return reached


def _short(part: str) -> str:
    return part.rpartition(".")[2].strip("_")


def draw(uses: Uses) -> str:
    """Return a mermaid flowchart."""
    arrows = [f"  {part} --> {other}" for part in sorted(uses) for other in sorted(uses[part])]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, "```"])


def pictures(tops: Iterable[str] = DRAWN) -> dict[str, str]:
    """Return the picture of each service's packages, as they import each other now."""
    names = list(tops)
    graph = grimp.build_graph(*names, cache_dir=None)
    return {top: draw(reduced(uses_of(graph, top))) for top in names}


def redraw(page: str) -> str:
    """Return the page with its pictures drawn anew."""
    drawn = pictures()
    return PICTURE.sub(lambda found: f"<!-- packages of {found[1]} -->\n{drawn[found[1]]}\n<!-- end -->", page)


if __name__ == "__main__":
    PAGE.write_text(redraw(PAGE.read_text()))
