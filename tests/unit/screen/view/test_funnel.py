"""Running counters may come late, twice and in any order: the view ends with the same."""

from hypothesis import given
from hypothesis import strategies as st

from screen.view.funnel import summarise, take_larger

counters = st.dictionaries(st.sampled_from(["seen", "kept", "dropped", "new"]), st.integers(0, 100))


@given(counters, counters)
def test_the_order_does_not_matter(one: dict[str, int], other: dict[str, int]) -> None:
    assert take_larger(one, other) == take_larger(other, one)


@given(counters, counters, counters)
def test_nor_does_what_is_taken_first(one: dict[str, int], two: dict[str, int], three: dict[str, int]) -> None:
    assert take_larger(take_larger(one, two), three) == take_larger(one, take_larger(two, three))


@given(counters, counters)
def test_telling_it_again_changes_nothing(held: dict[str, int], told: dict[str, int]) -> None:
    once = take_larger(held, told)
    assert take_larger(once, told) == once == take_larger(once, held)


def test_partitions_add_up() -> None:
    table = {
        "0/acme/rain/front": {"seen": 8, "kept": 2},
        "1/acme/rain/front": {"seen": 2, "kept": 1},
        "1/acme/night/front": {"seen": 0, "kept": 0},
    }
    assert summarise(table) == {
        "total": {"seen": 10, "kept": 3, "keep_rate": 0.3},
        "slices": {
            "acme/night/front": {"seen": 0, "kept": 0, "keep_rate": 0.0},
            "acme/rain/front": {"seen": 10, "kept": 3, "keep_rate": 0.3},
        },
    }
