"""How wrong the network is: which cell answers for which shape, and at what price."""

import jax
import jax.numpy as jnp
import optax

from .decoding import GRID, cell_centres
from .drawing import LABELS
from .network import DISTANCE_UNIT, JaxOps, Params, detector

REACH = 1.5 / GRID
BOX_WEIGHT = 2.0


def assign(boxes: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """For each cell: does it answer for a shape, for which label, at which four distances.

    Cells near a shape's middle answer for it; the smallest shape wins a disputed cell.
    `boxes` is [shapes, 4] and `labels` [shapes], -1 where there is no shape.
    """
    centres = jnp.asarray(cell_centres())[:, None]
    distances = jnp.concatenate([centres - boxes[:, :2], boxes[:, 2:] - centres], axis=-1)
    near = jnp.abs(centres - (boxes[:, :2] + boxes[:, 2:]) / 2).max(axis=-1) < REACH
    allowed = near & (distances.min(axis=-1) > 0) & (labels >= 0)
    areas = jnp.where(allowed, (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1), jnp.inf)
    chosen = areas.argmin(axis=1)
    taken = jnp.take_along_axis(distances, chosen[:, None, None], axis=1)[:, 0]
    return allowed.any(axis=1), labels[chosen], taken


def fit(found: jax.Array, true: jax.Array) -> tuple[jax.Array, jax.Array]:
    """IoU and generalised IoU of boxes given as distances from one shared centre."""
    inner, outer = jnp.minimum(found, true), jnp.maximum(found, true)
    shared, hull = surface(inner), surface(outer)
    union = surface(found) + surface(true) - shared
    iou = shared / (union + 1e-7)
    return iou, iou - (hull - union) / (hull + 1e-7)


def surface(distances: jax.Array) -> jax.Array:
    """The area of a box given as left, top, right and bottom distances."""
    left, top, right, bottom = jnp.moveaxis(distances, -1, 0)
    product: jax.Array = (left + right) * (top + bottom)
    return product


def score_loss(raw: jax.Array, wanted: jax.Array) -> jax.Array:
    """Cross entropy that counts most where the score is farthest from the wanted one."""
    distance = jnp.abs(wanted - jax.nn.sigmoid(raw))
    entropy: jax.Array = optax.sigmoid_binary_cross_entropy(raw, wanted)
    return jnp.square(distance) * entropy


def loss(params: Params, pixels: jax.Array, boxes: jax.Array, labels: jax.Array) -> jax.Array:
    """The price per answering cell of a batch of RGB bytes [N,128,128,3]."""
    raw, scores = detector(JaxOps(params), pixels.astype(jnp.float32) / 255)
    count = len(pixels)
    found = (jax.nn.softplus(raw) * DISTANCE_UNIT).reshape(count, -1, 4)
    answers, kinds, true = jax.vmap(assign)(boxes, labels)
    iou, generalised = fit(found, jnp.where(answers[..., None], true, found))
    # A score learns how well its box fits, so that the best placed box survives suppression.
    quality = jax.lax.stop_gradient(jnp.where(answers, iou, 0))
    wanted = quality[..., None] * jax.nn.one_hot(kinds, len(LABELS))
    price = score_loss(scores.reshape(wanted.shape), wanted).sum()
    price += BOX_WEIGHT * jnp.where(answers, 1 - generalised, 0).sum()
    return price / jnp.maximum(answers.sum(), 1)
