"""Run rounds and write what happened: `python -m tests.chaos ROUNDS`."""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import jinja2
import typer

from tests.chaos.rounds import Round, run_rounds

BUILD = Path("build/chaos")


def report(rounds: Sequence[Round], seed: int, seconds: float) -> Mapping[str, Any]:
    """Return the figures of a run, ready for JSON."""
    stood = sorted(one.standstill_s for one in rounds)
    return {
        "rounds": len(rounds),
        "lost": sum(one.lost for one in rounds),
        "twice": sum(one.twice for one in rounds),
        "findings": [{"round": one.number, **finding._asdict()} for one in rounds for finding in one.findings],
        "orphans": sum(len(one.orphans) for one in rounds),
        "frames": sum(one.frames for one in rounds),
        "standstill_s": {"median": stood[len(stood) // 2], "worst": stood[-1]} if stood else {},
        "seconds": round(seconds),
        "seed": seed,
        "table": [
            {
                "round": one.number,
                "faults": list(one.faults),
                "frames": one.frames,
                "fault_s": one.fault_s,
                "standstill_s": one.standstill_s,
                "settled_s": one.settled_s,
                "findings": len(one.findings),
                "orphans": list(one.orphans),
            }
            for one in rounds
        ],
    }


def write(figures: Mapping[str, Any], folder: Path) -> None:
    """Write the report and its page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(figures, indent=1) + "\n")
    template = jinja2.Environment(autoescape=True).from_string(Path(__file__).with_name("index.html.j2").read_text())
    (folder / "index.html").write_text(template.render(figures))


def tell(one: Round) -> None:
    found = ", ".join(f"{finding.kind} {finding.subject}" for finding in one.findings[:5]) or "all adds up"
    orphans = f", orphans: {', '.join(one.orphans)}" if one.orphans else ""
    typer.echo(
        f"round {one.number}: {' and '.join(one.faults)}; {one.frames} frames, "
        f"stood still for {one.standstill_s:.1f} s, settled {one.settled_s:.1f} s later: {found}{orphans}"
    )


def _keep(evidence: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if evidence.exists():
        shutil.copytree(evidence, folder)
        typer.echo(f"what did not settle: see {folder}")


def main(
    rounds: Annotated[int, typer.Argument(min=1)] = 20,
    seed: Annotated[int, typer.Option()] = 1,
    only: Annotated[str, typer.Option(help='Faults that begin with this, such as "kill server s3".')] = "",
    folder: Annotated[Path, typer.Option(help="Where the report goes.")] = BUILD,
) -> None:
    """Run the whole stack under load while things go wrong, and compare the books from outside after each round."""
    began, done = time.monotonic(), list[Round]()

    def take(one: Round) -> None:
        """Write the report after each round: what ends a long run does not take it along."""
        done.append(one)
        tell(one)
        write(report(done, seed, time.monotonic() - began), folder)

    with tempfile.TemporaryDirectory(prefix="chaos-", dir=Path.home()) as scratch:
        try:
            asyncio.run(run_rounds(Path(scratch), rounds, seed, take, only=only))
        finally:
            _keep(Path(scratch) / "evidence", folder / "evidence")
    figures = report(done, seed, time.monotonic() - began)
    typer.echo(
        f"{figures['rounds']} rounds, {figures['frames']} frames, {figures['lost']} lost, {figures['twice']} twice, "
        f"{len(figures['findings'])} findings, {figures['orphans']} orphans: see {folder / 'index.html'}"
    )
    raise typer.Exit(1 if figures["findings"] or figures["orphans"] else 0)


if __name__ == "__main__":
    typer.run(main)
