"""What the seeds come to: ratios seed by seed, targets met or not, and why not."""

from datetime import timedelta

from learning.configuration import SEEDS, TUNING_SEEDS, Streams
from learning.days import OURS, SHUFFLED, DayFigures
from learning.figures import Interval
from learning.measure import make_table, summarise
from learning.product import LABELS_COME_AFTER, START
from learning.targets import list_targets
from screen.learn.labelled_audit import DAYS

GOOD = {
    "hard_recall": 0.5,
    "silent_recall": 0.4,
    "event_recall": 0.8,
    "worst_slice": 0.7,
    "duplicates": 0.01,
    "useless": 0.001,
    "keep_rate": 0.1,
}
CHANCE = {**GOOD, "hard_recall": 0.1, "silent_recall": 0.1, "event_recall": 0.3}
PART = {**GOOD, "event_recall": 0.7}
ARMS = {
    "random": CHANCE,
    "1 - max confidence": CHANCE,
    "entropy": PART,
    "disagreement": CHANCE,
    "ceiling": {**GOOD, "hard_recall": 0.9},
    OURS: GOOD,
    f"{SHUFFLED}random": CHANCE,
    f"{SHUFFLED}{OURS}": CHANCE,
}


def test_the_summary_compares_each_seed_with_its_own_chance() -> None:
    lucky = {**ARMS, OURS: {**GOOD, "hard_recall": 0.7, "event_recall": 0.9}}
    result = summarise([DayFigures(1, ARMS, {OURS: {0.1: 0.5}}), DayFigures(2, lucky)])
    assert result["ratio"]["random"] == 6
    assert result["ratio"]["silent"] == 4
    assert result["ratio"][f"{SHUFFLED}{OURS} / random"] == 1
    assert result["normalised_recall"] == 0.625
    assert result["events_against_best_part"]["part"] == "entropy"
    assert result["curves"] == {OURS: {"0.1": 0.5}}
    assert [target["met"] for target in result["targets"]] == [True, True, True, False, True, True, True, True, True]
    assert "| ours | 6.00 | 0.600 |" in make_table(result)


def test_a_missed_target_says_why_and_a_met_one_does_not() -> None:
    sure = {name: Interval(value, value, value) for name, value in GOOD.items()}
    one, three = Interval(1, 0.9, 1.1), Interval(3, 2, 4)
    good = list_targets(three, three, sure, Interval(0.1, 0, 0.2), one)
    assert all(target["met"] and not target["why"] for target in good)
    bad = list_targets(
        one, one, {**sure, "duplicates": one, "useless": one}, Interval(0.1, -0.02, 0.2), Interval(2, 1.5, 2.5)
    )
    missed = [(target["figure"], bool(target["why"])) for target in bad if not target["met"]]
    assert missed == [
        ("hard-recall at 10 % / random", False),
        ("recall of silent misses / random", True),
        ("event recall minus the best single part's, lower 95 % bound", True),
        ("duplicates among kept", True),
        ("useless among kept", True),
        ("shuffled truth: how far 1 lies outside the interval of ours / random", False),
    ]


def test_the_days_before_are_recent_enough_to_be_learned_from() -> None:
    """The learner forgets after 14 days: the tuning seeds' days lie right before the first measured one."""
    first = START + timedelta(days=1 - len(TUNING_SEEDS))
    last_label = START + timedelta(days=max(SEEDS), seconds=Streams().frames + LABELS_COME_AFTER)
    assert last_label - first < DAYS
