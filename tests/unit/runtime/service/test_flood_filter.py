"""A client in an outage writes the same line thirty times a second: a few go through, the rest is counted."""

import logging

import pytest

from roadloop_runtime.service import logs
from roadloop_runtime.service.logs import FloodFilter


def line(message: str, name: str = "aiokafka.conn") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, ("node 1",), None)


def test_five_of_a_kind_go_through_per_window() -> None:
    flood = FloodFilter()
    assert [flood.filter(line("cannot reach %s")) for _ in range(8)] == [True] * 5 + [False] * 3


def test_kinds_are_told_apart_by_logger_and_text() -> None:
    flood = FloodFilter()
    for _ in range(8):
        flood.filter(line("cannot reach %s"))
    assert flood.filter(line("cannot reach %s", "aiokafka.producer"))
    assert flood.filter(line("lost %s"))


def test_the_next_window_says_how_many_were_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    flood = FloodFilter()
    for _ in range(8):
        flood.filter(line("cannot reach %s"))
    monkeypatch.setattr(logs, "WINDOW_S", -1.0)
    next_window = line("cannot reach %s")
    assert flood.filter(next_window)
    assert next_window.getMessage() == "cannot reach node 1 [3 more like this were held back]"


def test_a_window_without_a_flood_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    flood = FloodFilter()
    monkeypatch.setattr(logs, "WINDOW_S", -1.0)
    lines = [line("cannot reach %s") for _ in range(3)]
    assert [flood.filter(one) for one in lines] == [True] * 3
    assert {one.getMessage() for one in lines} == {"cannot reach node 1"}
