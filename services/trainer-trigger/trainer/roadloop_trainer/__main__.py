"""Command line of the sample trainer: train, predict, score."""

import argparse
import json
import os
import sys
from pathlib import Path

from roadloop_trainer.dataset import BadDatasetError


def main() -> int:
    """Run one command. Exit code 2: the input is bad, and one line on stderr says what to do about it."""
    arguments = _make_parser().parse_args()
    try:
        arguments.command(arguments)
    except BadDatasetError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="roadloop_trainer", description=__doc__)
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train", help="train a detector on a dataset's train split")
    train.set_defaults(command=_train)
    train.add_argument("--dataset", type=Path, required=True)
    train.add_argument("--init", required=True, help="a checkpoint.npz to go on from, or none")
    train.add_argument("--out", type=Path, required=True)
    train.add_argument("--seed", type=int, required=True)
    train.add_argument("--steps", type=_positive, required=True)
    train.add_argument(
        "--patience",
        type=_not_negative,
        default=0,
        help="end after so many evaluations on a held-out tenth without gain",
    )
    train.add_argument("--architecture", choices=("plain", "patchify"), default="plain")
    for name, command, what in (("predict", _predict, "run a detector"), ("score", _score, "score predictions")):
        other = commands.add_parser(name, help=f"{what} over a split")
        other.set_defaults(command=command)
        other.add_argument("--dataset", type=Path, required=True)
        other.add_argument("--split", default="validation")
        other.add_argument("--model" if name == "predict" else "--predictions", type=Path, required=True)
        if name == "predict":
            other.add_argument("--out", type=Path, required=True)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be at least 0; 0 holds nothing out, and --steps end the run")
    return number


def _train(arguments: argparse.Namespace) -> None:
    from roadloop_trainer.run import Order, run

    init = None if arguments.init == "none" else Path(arguments.init)
    run(
        Order(
            arguments.dataset,
            init,
            arguments.out,
            arguments.seed,
            arguments.steps,
            arguments.patience,
            arguments.architecture,
        )
    )


def _predict(arguments: argparse.Namespace) -> None:
    from roadloop_trainer.predict import predict

    print(predict(arguments.model, arguments.dataset, arguments.split, arguments.out), "frames")


def _score(arguments: argparse.Namespace) -> None:
    from roadloop_trainer.average_precision import score

    scores = score(arguments.dataset, arguments.split, arguments.predictions)
    print(json.dumps({name: round(value, 4) for name, value in scores.items()}))


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
