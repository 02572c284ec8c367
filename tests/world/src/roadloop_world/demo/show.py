"""What a person sees of a demo: lines as things happen, and a page that is there from the first minute to the last."""

import asyncio
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from rich.console import Console
from rich.text import Text

from roadloop_world.actors.fleet import Truth
from roadloop_world.demo import figures, pages
from roadloop_world.demo.loop_state import LoopState, News, describe_training, select_loss_curve
from roadloop_world.demo.promises import Outcome, Promise, check

SAY_EVERY_S, REFRESH_S = 5.0, 15.0
DROPS = ("below_threshold", "near_duplicate", "blurred", "badly_exposed")


@dataclass
class Show:
    """A demo as it is shown: its state, the true pictures, and where the page goes."""

    folder: Path
    tenant: str
    state: LoopState = field(default_factory=LoopState)
    truth: Truth = field(default_factory=Truth)
    answers: dict[str, Any] = field(default_factory=dict)  # what was asked for at the end
    ended_early: str = ""
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))
    _started: float = field(default_factory=time.monotonic)
    _writing: Lock = field(default_factory=Lock)

    def say(self, line: str, style: str = "") -> None:
        """Print a line with the seconds since the start; what it quotes may hold brackets of its own."""
        self.console.print(Text(f"{time.monotonic() - self._started:6.1f} s  ", "dim").append(line, style or "default"))

    def tell(self, news: News) -> None:
        """Print what has just become known."""
        self.say(*news)

    def say_funnel(self) -> None:
        """Print how many frames got how far, and where a training is."""
        books, frames, reasons = (
            self.state.books,
            self.state.books.get("frames", {}),
            self.state.books.get("reasons", {}),
        )
        dropped = ", ".join(f"{name.replace('_', ' ')} {reasons[name]}" for name in DROPS if name in reasons)
        self.say(
            f"received {books.get('announced', 0)}  kept {frames.get('kept', 0)}"
            f"  dropped {frames.get('dropped', 0)} ({dropped})  labelled {books.get('labelled', 0)}"
            f"  trained {books.get('trained', 0)}  in flight {self.state.in_flight}"
        )
        if self.state.steps and self.state.steps[-1].get("phase") != "done":
            self.say(describe_training(self.state.steps[-1]))

    def make_report(self) -> dict[str, Any]:
        """Return the figures of now."""
        seconds = time.monotonic() - self._started
        return figures.summarise(self.state, self.tenant, seconds) | self.answers | {"ended_early": self.ended_early}

    def make_page(self, now: str = "") -> tuple[pages.Page, list[Promise]]:
        """Return what the page shows, as values of their own: the state goes on."""
        report = self.make_report()
        promises = check(report, self.state)
        return pages.Page(
            report, promises, list(self.state.verdicts), select_loss_curve(self.state.steps), now
        ), promises

    def write(self, page: pages.Page) -> Path:
        """Write the page; the charts' library draws for one at a time."""
        with self._writing:
            return pages.write(self.folder, page, self.truth.pictures)

    async def refresh(self) -> None:
        """Print the funnel and write the page as it moves; for ever."""
        moves = -1
        for number in count(1):
            await asyncio.sleep(SAY_EVERY_S)
            self.say_funnel()
            if number * SAY_EVERY_S % REFRESH_S == 0 and self.state.moves != moves:
                moves = self.state.moves
                await asyncio.to_thread(self.write, self.make_page(now=self.state.last)[0])

    def finish(self) -> int:
        """Write the last page, say what it says, and return how many promises did not hold."""
        page, promises = self.make_page()
        path = self.write(page)
        for version, scores in page.report["map"].items():
            self.say(f"mAP {version}: " + "  ".join(f"{name} {score:.3f}" for name, score in scores.items()))
        if page.report["repeated_requests"]:
            self.say(f"{page.report['repeated_requests']} inference requests were repeated; nothing is lost by that")
        self._say_promises(promises)
        broken = [promise for promise in promises if promise.outcome is Outcome.BROKEN]
        self.say(f"{'not all' if broken else 'all'} held: open {path}", "red" if broken else "green")
        return len(broken)

    def _say_promises(self, promises: list[Promise]) -> None:
        for promise in promises:
            why = f" ({promise.why})" if promise.why else ""
            if promise.outcome is Outcome.BROKEN:
                self.say(f"did not hold: {promise.name}{why}", "red")
            elif promise.outcome is Outcome.UNTRIED:
                self.say(f"not tried: {promise.name}{why}", "dim")
