"""Two small detectors without anchors: a pyramid of plain convolutions, and a patch embedding with residual blocks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

STRIDE = 8  # pixels per cell
ARCHITECTURES = ("plain", "patchify")


class Heads(NamedTuple):
    """What a network says about every cell of its 20 x 32 grid."""

    heat: jax.Array  # [B, 20, 32, C], logits of "the middle of an object of this class is here"
    edges: jax.Array  # [B, 20, 32, 4], cells from the cell's middle to the left, top, right and bottom edge
    embedding: jax.Array  # [B, D]


class Block(nnx.Module):
    """Convolve, normalise, cut at zero."""

    def __init__(self, channels: tuple[int, int], stride: int, *, rngs: nnx.Rngs, size: int = 3) -> None:
        inward, outward = channels
        self.convolve = nnx.Conv(inward, outward, (size, size), strides=(stride, stride), use_bias=False, rngs=rngs)
        self.normalise = nnx.BatchNorm(outward, momentum=0.9, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return [B, H / stride, W / stride, channels]."""
        return nnx.relu(self.normalise(self.convolve(x)))


class Head(nnx.Module):
    """Turn features into heat and edges."""

    def __init__(self, features: int, classes: int, *, rngs: nnx.Rngs) -> None:
        self.mix = Block((features, features), 1, rngs=rngs)
        rare = nnx.initializers.constant(-3.5)
        self.heat = nnx.Conv(features, classes, (1, 1), bias_init=rare, rngs=rngs)
        self.edges = nnx.Conv(features, 4, (1, 1), rngs=rngs)

    def __call__(self, features: jax.Array, embedding: jax.Array) -> Heads:
        """Return the heads for [B, 20, 32, features]."""
        mixed = self.mix(features)
        return Heads(self.heat(mixed), jnp.exp(jnp.minimum(self.edges(mixed), 4.0)), embedding)


class Plain(nnx.Module):
    """Halve the picture three times, then look around at stride 8."""

    def __init__(self, classes: int, *, rngs: nnx.Rngs) -> None:
        plan = ((3, 16, 2), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1))
        self.blocks = nnx.List([Block((inward, outward), stride, rngs=rngs) for inward, outward, stride in plan])
        self.head = Head(64, classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> Heads:
        """Return the heads for [B, 160, 256, 3] in 0..255; the embedding has 96 numbers."""
        x = scale(images)
        means = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in (2, 5):
                means.append(x.mean((1, 2)))
        return self.head(x, jnp.concatenate(means, 1))


class Patchify(nnx.Module):
    """Cut the picture into patches of 8 x 8 pixels, then refine their features."""

    def __init__(self, classes: int, *, rngs: nnx.Rngs) -> None:
        self.patches = Block((3, 48), STRIDE, size=STRIDE, rngs=rngs)
        self.blocks = nnx.List([Block((48, 48), 1, rngs=rngs) for _ in range(5)])
        self.head = Head(48, classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> Heads:
        """Return the heads for [B, 160, 256, 3] in 0..255; the embedding has 96 numbers."""
        patches = x = self.patches(scale(images))
        for block in self.blocks:
            x = x + block(x)
        return self.head(x, jnp.concatenate([patches.mean((1, 2)), x.mean((1, 2))], 1))


def scale(images: jax.Array) -> jax.Array:
    """Bring 0..255 to about -1..1."""
    return (images.astype(jnp.float32) - 115.0) / 64.0


def build(architecture: str, classes: int, seed: int) -> nnx.Module:
    """Make a network with random weights that depend on `seed` alone."""
    kind = {"plain": Plain, "patchify": Patchify}[architecture]
    return kind(classes, rngs=nnx.Rngs(seed))
