"""Say how wrong the heads are about the labelled boxes."""

import jax
import jax.numpy as jnp

from roadloop_trainer.networks import Heads

_OWNED = 0.35  # a cell learns a box's edges when the box's bump is at least this high there


def detection_loss(heads: Heads, boxes: jax.Array, classes: jax.Array) -> jax.Array:
    """Return the mean loss of a batch.

    `boxes` is [B, N, 4] with corners in 0..1, `classes` [B, N] with -1 for no box.
    Source: CornerNet's penalty-reduced focal loss (Law 2018) and the generalised IoU (Rezatofighi 2019).
    """
    rows, columns, kinds = heads.heat.shape[1:]
    cells = boxes * jnp.array([columns, rows, columns, rows], jnp.float32)
    bumps = _draw_bumps(cells, classes, rows, columns)  # [B, N, rows, columns]
    kind = jax.nn.one_hot(classes, kinds)  # zeros where there is no box
    heat = (bumps[..., None] * kind[:, :, None, None, :]).max(1)
    boxes_in_batch = jnp.maximum((classes >= 0).sum(), 1)
    return _focal(heads.heat, heat) / boxes_in_batch + 2.0 * _edge_loss(heads.edges, cells, bumps)


def _draw_bumps(cells: jax.Array, classes: jax.Array, rows: int, columns: int) -> jax.Array:
    """Return a bump per box: 1 in the cell of its middle, falling off with the box's size."""
    x = jnp.arange(columns)[None, None, None, :] + 0.5
    y = jnp.arange(rows)[None, None, :, None] + 0.5
    x1, y1, x2, y2 = (cells[:, :, edge, None, None] for edge in range(4))
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    wide, high = jnp.maximum((x2 - x1) * 0.16, 0.55), jnp.maximum((y2 - y1) * 0.16, 0.55)
    bump = jnp.exp(-0.5 * (((x - middle_x) / wide) ** 2 + ((y - middle_y) / high) ** 2))
    at_middle = (jnp.floor(x) == jnp.floor(middle_x)) & (jnp.floor(y) == jnp.floor(middle_y))
    return jnp.where(at_middle, 1.0, bump) * (classes >= 0)[:, :, None, None]


def _focal(logits: jax.Array, heat: jax.Array) -> jax.Array:
    chance = jnp.clip(jax.nn.sigmoid(logits), 1e-5, 1 - 1e-5)
    hit = -jnp.log(chance) * (1 - chance) ** 2
    miss = -jnp.log(1 - chance) * chance**2 * (1 - heat) ** 4
    return jnp.where(heat >= 0.999, hit, miss).sum()


def _edge_loss(edges: jax.Array, cells: jax.Array, bumps: jax.Array) -> jax.Array:
    owner = bumps.argmax(1)  # [B, rows, columns]
    height = bumps.max(1)
    truth = jnp.take_along_axis(cells[:, :, None, None, :], owner[:, None, :, :, None], 1)[:, 0]
    rows, columns = height.shape[1:]
    x = jnp.arange(columns)[None, None, :] + 0.5
    y = jnp.arange(rows)[None, :, None] + 0.5
    guess = jnp.stack([x - edges[..., 0], y - edges[..., 1], x + edges[..., 2], y + edges[..., 3]], -1)
    weight = jnp.where(height >= _OWNED, height, 0.0)
    return (weight * (1 - _generalised_iou(guess, truth))).sum() / jnp.maximum(weight.sum(), 1.0)


def _generalised_iou(box: jax.Array, other: jax.Array) -> jax.Array:
    overlap = _area(jnp.concatenate([jnp.maximum(box, other)[..., :2], jnp.minimum(box, other)[..., 2:]], -1))
    hull = _area(jnp.concatenate([jnp.minimum(box, other)[..., :2], jnp.maximum(box, other)[..., 2:]], -1))
    union = _area(box) + _area(other) - overlap
    return overlap / jnp.maximum(union, 1e-6) - (hull - union) / jnp.maximum(hull, 1e-6)


def _area(box: jax.Array) -> jax.Array:
    return jnp.maximum(box[..., 2] - box[..., 0], 0) * jnp.maximum(box[..., 3] - box[..., 1], 0)
