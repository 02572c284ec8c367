"""Move a network's weights towards the labels, for so many steps, or until held-out frames gain no more."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from roadloop_trainer.best_so_far import BestSoFar
from roadloop_trainer.dataset import Examples
from roadloop_trainer.losses import detection_loss

BATCH = 16
FRESH_RATE, WARM_RATE = 4e-3, 2e-3
EVALUATE_EVERY = 25  # steps
_WARM_UP = 0.06  # part of the run in which the rate rises


@dataclass(frozen=True, slots=True)
class Budget:
    """Where a run ends: at `steps`, or after `patience` evaluations of the held-out frames without a smaller loss.

    0 evaluates nothing. A clock never ends a run: what it learned would depend on how fast the machine was.
    """

    steps: int
    patience: int
    peak_rate: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did. Of a run with held-out frames, `best_step` made the weights that were kept."""

    steps: int
    seconds: float
    loss: float  # mean of the last 20 steps
    best_step: int
    held_out_loss: float | None


Report = Callable[[int, float], None]  # step, loss


def train(
    network: nnx.Module, examples: Examples, held_out: Examples | None, seed: int, budget: Budget, *, report: Report
) -> Outcome:
    """Train `network` in place; the same seed and data give the same weights, however long a step takes."""
    network.train()
    graph, weights, means = nnx.split(network, nnx.Param, nnx.BatchStat)
    rule = optax.chain(optax.clip_by_global_norm(10.0), optax.scale_by_adam(), optax.add_decayed_weights(1e-4))
    step, memory = _make_step(graph, rule), rule.init(weights)
    evaluate = _make_evaluate(network, held_out) if held_out is not None else None
    started, losses, best = time.monotonic(), [], BestSoFar()
    for number, batch in enumerate(_draw_batches(examples, np.random.default_rng(seed), budget.steps), 1):
        rate = budget.peak_rate * _rate((number - 1) / budget.steps)
        weights, means, memory, loss = step(weights, means, memory, rate, batch)
        losses.append(float(loss))
        report(number, losses[-1])
        if evaluate is not None and (number % EVALUATE_EVERY == 0 or number == budget.steps):
            best.take_loss(number, evaluate(weights, means), (weights, means))
            if best.without_gain >= budget.patience:
                break
    nnx.update(network, *(best.state or (weights, means)))
    held_out_loss = best.loss if best.state else None
    best_step = best.step if best.state else len(losses)
    return Outcome(len(losses), time.monotonic() - started, float(np.mean(losses[-20:])), best_step, held_out_loss)


def _make_step(graph: Any, rule: optax.GradientTransformation) -> Callable[..., Any]:
    def loss_of(weights: Any, means: Any, batch: Any) -> tuple[jax.Array, Any]:
        images, boxes, classes = batch
        network = nnx.merge(graph, weights, means, copy=True)
        loss = detection_loss(network(images), boxes, classes)
        return loss, nnx.state(network, nnx.BatchStat)

    @jax.jit
    def step(weights: Any, means: Any, memory: Any, rate: float, batch: Any) -> tuple[Any, Any, Any, jax.Array]:
        (loss, means), slope = jax.value_and_grad(loss_of, has_aux=True)(weights, means, batch)
        change, memory = rule.update(slope, memory, weights)
        weights = jax.tree.map(lambda weight, part: weight - rate * part, weights, change)
        return weights, means, memory, loss

    return step


def _make_evaluate(network: nnx.Module, held_out: Examples) -> Callable[[Any, Any], float]:
    """Return the function from weights to their mean loss on the held-out frames; a short last batch is filled up."""
    network.eval()
    graph, *_ = nnx.split(network, nnx.Param, nnx.BatchStat)
    network.train()
    count = len(held_out.images)
    starts = range(0, max(BATCH, count), BATCH)
    batches = [np.arange(start, start + BATCH) % count for start in starts]

    @jax.jit
    def loss_of(weights: Any, means: Any, images: Any, boxes: Any, classes: Any) -> jax.Array:
        return detection_loss(nnx.merge(graph, weights, means, copy=True)(images), boxes, classes)

    def evaluate(weights: Any, means: Any) -> float:
        losses = [
            loss_of(weights, means, held_out.images[indices], held_out.boxes[indices], held_out.classes[indices])
            for indices in batches
        ]
        return float(np.mean([float(loss) for loss in losses]))

    return evaluate


def _rate(passed: float) -> float:
    """Return the learning rate's part of its peak: up in a line, down in half a cosine to 2 %."""
    if passed < _WARM_UP:
        return 0.1 + 0.9 * passed / _WARM_UP
    return 0.02 + 0.49 * (1 + math.cos(math.pi * (passed - _WARM_UP) / (1 - _WARM_UP)))


def _draw_batches(examples: Examples, rng: np.random.Generator, steps: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield batches in which a frame of weight 3 appears three times as often; half of them are mirrored."""
    order = _draw_order(examples.weights, rng)
    for _ in range(steps):
        chosen = np.array([next(order) for _ in range(BATCH)])
        images, boxes = examples.images[chosen], examples.boxes[chosen]
        mirrored = rng.random(BATCH) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        boxes[mirrored] = np.stack(
            [1 - boxes[mirrored, :, 2], boxes[mirrored, :, 1], 1 - boxes[mirrored, :, 0], boxes[mirrored, :, 3]], -1
        )
        yield jnp.asarray(images), jnp.asarray(boxes), jnp.asarray(examples.classes[chosen])


def _draw_order(weights: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """Yield indices for ever, each round holding every frame in proportion to its weight."""
    rounds = weights / weights.min()
    while True:
        whole = np.floor(rounds + rng.random(len(rounds))).astype(int)
        yield from rng.permutation(np.repeat(np.arange(len(rounds)), whole)).tolist()
