"""ARCHITECTURE.md tells the truth: its links lead somewhere, its pictures are of today, and no package is left out."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.contract.package_pictures import PAGE, redraw

ROOT = PAGE.parent
LINK = re.compile(r"\[[^\]]+\]\((?!https?://|#)([^)#]+)[^)]*\)")
PAGES = [
    ROOT / "README.md",
    PAGE,
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("services/*/README.md")),
    *sorted(ROOT.glob("services/*/*/README.md")),
]
SERVICES = ROOT / "services"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_to_something(page: Path) -> None:
    gone = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert gone == []


def test_the_pictures_of_packages_are_of_today() -> None:
    page = PAGE.read_text()
    assert page == redraw(page), "draw them anew: python -m tests.contract.package_pictures"


def test_where_to_change_what_names_every_package() -> None:
    table = PAGE.read_text().partition("## Where to change what")[2].partition("\n## ")[0]
    packages = {
        path.parent.relative_to(ROOT)
        for pattern in (
            "services/*/src/*/*/__init__.py",
            "deploy/local/src/*/*/__init__.py",
            "tests/world/src/*/*/__init__.py",
        )
        for path in ROOT.glob(pattern)
    }
    missing = [
        str(package) for package in sorted(packages) if f"{package}/" not in table and package.name != "migrations"
    ]
    assert missing == []


def test_every_package_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for pattern in (
            "services/*/src/**/__init__.py",
            "deploy/*/src/**/__init__.py",
            "tests/world/src/**/__init__.py",
        )
        for path in ROOT.glob(pattern)
        if not path.read_text().startswith('"""')
    ]
    assert silent == []


def test_no_folder_has_more_modules_than_a_stranger_takes_in() -> None:
    tops = ("services", "schemas", "deploy", "tests", "bench")
    modules = [path.relative_to(ROOT) for top in tops for path in (ROOT / top).glob("**/[!_]*.py")]
    counts = Counter(str(path.parent) for path in modules)
    assert {folder: count for folder, count in counts.items() if count > 15} == {}


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("20*.md")}
