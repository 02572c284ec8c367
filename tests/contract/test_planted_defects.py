"""Every defect that `make mutations` plants still has its place in the code."""

from tests.simulation.mutations import ALL, REPOSITORY


def test_each_planted_defect_has_exactly_one_place() -> None:
    places = {
        (mutation.name, str(patch.file)): (REPOSITORY / patch.file).read_text().count(patch.old)
        for mutation in ALL
        for patch in mutation.patches
    }
    assert {place: count for place, count in places.items() if count != 1} == {}
