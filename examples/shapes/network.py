"""The detector's shape, written once: jax runs it in training, ONNX nodes record it for serving."""

from typing import NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")
Params = dict[str, dict[str, jax.Array]]
# Softplus is about 1 in the middle of its range: distances are learnt in quarters of the picture.
DISTANCE_UNIT = 0.25


class Conv(NamedTuple):
    """One convolution: channels in and out, kernel side, stride."""

    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1


LAYERS = {
    "stem": Conv(3, 16, stride=2),
    "quarter": Conv(16, 32, stride=2),
    "quarter_more": Conv(32, 32),
    "eighth": Conv(32, 48, stride=2),
    "eighth_more": Conv(48, 48),
    "sixteenth": Conv(48, 56, stride=2),
    "sixteenth_more": Conv(56, 56),
    "sixteenth_last": Conv(56, 56),
    "merge": Conv(56, 48, kernel=1),
    "joint": Conv(48, 48),
    "head": Conv(48, 48),
    "distances": Conv(48, 4, kernel=1),
    "scores": Conv(48, 4, kernel=1),
}


class Ops(Protocol[T]):
    """The few operations the network is made of, on values of type T."""

    def conv(self, name: str, value: T) -> T: ...
    def relu(self, value: T) -> T: ...
    def add(self, first: T, second: T) -> T: ...
    def double(self, value: T) -> T: ...
    def softplus(self, value: T, scale: float) -> T: ...
    def sigmoid(self, value: T) -> T: ...
    def join(self, first: T, second: T) -> T: ...


def backbone(ops: Ops[T], image: T) -> T:
    """Features of an eighth of the picture's side that have seen nearly the whole picture."""
    value = image
    for name in ("stem", "quarter"):
        value = ops.relu(ops.conv(name, value))
    value = ops.relu(ops.add(value, ops.conv("quarter_more", value)))
    value = ops.relu(ops.conv("eighth", value))
    eighth = ops.relu(ops.add(value, ops.conv("eighth_more", value)))
    value = ops.relu(ops.conv("sixteenth", eighth))
    for name in ("sixteenth_more", "sixteenth_last"):
        value = ops.relu(ops.add(value, ops.conv(name, value)))
    return ops.relu(ops.add(eighth, ops.double(ops.conv("merge", value))))


def detector(ops: Ops[T], image: T) -> tuple[T, T]:
    """Each cell's raw distances to its shape's four sides and raw score of each label."""
    value = backbone(ops, image)
    for name in ("joint", "head"):
        value = ops.relu(ops.add(value, ops.conv(name, value)))
    return ops.conv("distances", value), ops.conv("scores", value)


def predictions(ops: Ops[T], image: T) -> T:
    """What the served network answers: distances >= 0, then scores in 0..1."""
    distances, scores = detector(ops, image)
    return ops.join(ops.softplus(distances, DISTANCE_UNIT), ops.sigmoid(scores))


def kernel(params: dict[str, jax.Array]) -> jax.Array:
    """The convolution's weights: mean 0 and one size per output, so no batch norm is needed."""
    weight = params["weight"]
    fan_in = np.prod(weight.shape[:3])
    centred = weight - weight.mean(axis=(0, 1, 2))
    spread = jnp.sqrt(jnp.square(centred).mean(axis=(0, 1, 2)) * fan_in + 1e-6)
    return centred / spread * params["gain"]


class JaxOps:
    """Runs the network on arrays [N, height, width, channels]."""

    def __init__(self, params: Params) -> None:
        self._params = params

    def conv(self, name: str, value: jax.Array) -> jax.Array:
        layer, params = LAYERS[name], self._params[name]
        edge = (layer.kernel // 2, layer.kernel // 2)
        result = jax.lax.conv_general_dilated(
            value,
            kernel(params),
            (layer.stride, layer.stride),
            (edge, edge),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return result + params["bias"]

    def relu(self, value: jax.Array) -> jax.Array:
        return jax.nn.relu(value)

    def add(self, first: jax.Array, second: jax.Array) -> jax.Array:
        return first + second

    def double(self, value: jax.Array) -> jax.Array:
        return value.repeat(2, axis=1).repeat(2, axis=2)

    def softplus(self, value: jax.Array, scale: float) -> jax.Array:
        return jax.nn.softplus(value) * scale

    def sigmoid(self, value: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(value)

    def join(self, first: jax.Array, second: jax.Array) -> jax.Array:
        return jnp.concatenate([first, second], axis=-1)


def fresh_params(seed: int) -> Params:
    """Untrained parameters; scores start low, since most cells hold no shape."""
    params: Params = {}
    for name, key in zip(LAYERS, jax.random.split(jax.random.key(seed), len(LAYERS)), strict=True):
        layer = LAYERS[name]
        shape = (layer.kernel, layer.kernel, layer.inputs, layer.outputs)
        bias = {"scores": -4.0, "distances": -1.0}.get(name, 0.0)
        params[name] = {
            # Small, so that a step turns them far: only their direction counts, not their size.
            "weight": 0.05 * jax.random.normal(key, shape),
            "gain": jnp.full(layer.outputs, np.sqrt(2.0), jnp.float32),
            "bias": jnp.full(layer.outputs, bias, jnp.float32),
        }
    return params


def served_count() -> int:
    """How many numbers the served network holds: weights and biases."""
    return sum(c.kernel**2 * c.inputs * c.outputs + c.outputs for c in LAYERS.values())
