"""Move a network's weights towards the labels, for so many steps or seconds."""

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

from roadloop_trainer.dataset import Examples
from roadloop_trainer.losses import detection_loss

BATCH = 16
FRESH_RATE, WARM_RATE = 4e-3, 2e-3
_WARM_UP = 0.06  # part of the run in which the rate rises


@dataclass(frozen=True, slots=True)
class Budget:
    """Where a run ends: at `steps`, or as soon as `max_seconds` have passed (inf: never)."""

    steps: int
    max_seconds: float
    peak_rate: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did."""

    steps: int
    seconds: float
    loss: float  # mean of the last 20 steps


Report = Callable[[int, float], None]  # step, loss


def train(network: nnx.Module, examples: Examples, seed: int, budget: Budget, *, report: Report) -> Outcome:
    """Train `network` in place. With a seed, and steps that end it, the same data give the same weights."""
    network.train()
    graph, weights, means = nnx.split(network, nnx.Param, nnx.BatchStat)
    rule = optax.chain(optax.clip_by_global_norm(10.0), optax.scale_by_adam(), optax.add_decayed_weights(1e-4))
    step, memory = _step(graph, rule), rule.init(weights)
    started, losses, done = time.monotonic(), [], 0
    for batch in _batches(examples, np.random.default_rng(seed), budget.steps):
        passed = max(done / budget.steps, (time.monotonic() - started) / budget.max_seconds)
        if passed >= 1:
            break
        rate = budget.peak_rate * _rate(passed)
        weights, means, memory, loss = step(weights, means, memory, rate, batch)
        losses.append(float(loss))
        done += 1
        report(done, losses[-1])
    nnx.update(network, weights, means)
    return Outcome(done, time.monotonic() - started, float(np.mean(losses[-20:])))


def _step(graph: Any, rule: optax.GradientTransformation) -> Callable[..., Any]:
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


def _rate(passed: float) -> float:
    """Return the learning rate's part of its peak: up in a line, down in half a cosine to 2 %."""
    if passed < _WARM_UP:
        return 0.1 + 0.9 * passed / _WARM_UP
    return 0.02 + 0.49 * (1 + math.cos(math.pi * (passed - _WARM_UP) / (1 - _WARM_UP)))


def _batches(examples: Examples, rng: np.random.Generator, steps: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield batches in which a frame of weight 3 appears three times as often; half of them are mirrored."""
    order = _order(examples.weights, rng)
    for _ in range(steps):
        chosen = np.array([next(order) for _ in range(BATCH)])
        images, boxes = examples.images[chosen], examples.boxes[chosen]
        mirrored = rng.random(BATCH) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        boxes[mirrored] = np.stack(
            [1 - boxes[mirrored, :, 2], boxes[mirrored, :, 1], 1 - boxes[mirrored, :, 0], boxes[mirrored, :, 3]], -1
        )
        yield jnp.asarray(images), jnp.asarray(boxes), jnp.asarray(examples.classes[chosen])


def _order(weights: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """Yield indices for ever, each round holding every frame in proportion to its weight."""
    rounds = weights / weights.min()
    while True:
        whole = np.floor(rounds + rng.random(len(rounds))).astype(int)
        yield from rng.permutation(np.repeat(np.arange(len(rounds)), whole)).tolist()
