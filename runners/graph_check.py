"""Does a graph take what its config says? Pure: names, types and shapes in, one sentence a fault out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hotswap.errors import VersionFailed
from hotswap.manifest import CONFIG_FILE, InputConfig

_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
# Where batch, channels, height and width stand.
_AXES = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 3, 1, 2)}

Side = int | str | None


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """An input or output as the graph declares it; a side that is no integer is open."""

    name: str
    type: str
    shape: Sequence[Side]


def choose_input(inputs: Sequence[GraphTensor], config: InputConfig) -> GraphTensor:
    """The graph's only input, which must be the one that the config means; else `VersionFailed`."""
    names = ", ".join(tensor.name for tensor in inputs)
    if len(inputs) != 1:
        raise VersionFailed(f"the graph takes {len(inputs)} inputs ({names}); one can be fed")
    (tensor,) = inputs
    if config.name not in (None, tensor.name):
        raise VersionFailed(_should("input.name", tensor.name, config.name, "the graph's input"))
    return tensor


def check_input(tensor: GraphTensor, config: InputConfig) -> None:
    """Raise `VersionFailed` saying what `config.json` should say instead."""
    faults = list(_faults(tensor, config))
    if faults:
        shape = ", ".join("?" if side is None else str(side) for side in tensor.shape)
        raise VersionFailed(f"graph input {tensor.name} {tensor.type} [{shape}]: " + "; ".join(faults))


def check_outputs(available: Sequence[str], wanted: Sequence[str], field: str) -> None:
    """Raise `VersionFailed` if the graph lacks an output that the config's `field` names."""
    missing = [name for name in wanted if name not in available]
    if missing:
        raise VersionFailed(
            f"{CONFIG_FILE}: {field}: the graph has {', '.join(available)}, found {', '.join(missing)}"
        )


def batch_of(tensor: GraphTensor) -> int | None:
    """The fixed number of pictures in one run; None when any number may be sent."""
    first = tensor.shape[0]
    return first if isinstance(first, int) and first > 0 else None


def _faults(tensor: GraphTensor, config: InputConfig) -> Iterator[str]:
    if len(tensor.shape) != 4:
        yield "a batch of pictures has 4 axes; export the graph so"
        return
    yield from _type_faults(tensor, config)
    yield from _shape_faults(tensor, config)
    if batch_of(tensor) not in (None, 1):
        yield f"it takes batches of {tensor.shape[0]} only; export it with batch 1 or an open batch"


def _type_faults(tensor: GraphTensor, config: InputConfig) -> Iterator[str]:
    found = _TYPES.get(tensor.type)
    if found is None:
        yield f"{tensor.type} cannot be fed; export it with float32 or uint8"
    elif found != config.dtype:
        yield _should("input.dtype", found, config.dtype)


def _shape_faults(tensor: GraphTensor, config: InputConfig) -> Iterator[str]:
    _, channels, height, width = (tensor.shape[axis] for axis in _AXES[config.layout])
    other = "NHWC" if config.layout == "NCHW" else "NCHW"
    if isinstance(channels, int) and channels != 3:
        if tensor.shape[_AXES[other][1]] == 3:
            yield _should("input.layout", other, config.layout)
        else:
            yield f"it takes {channels} channels; pictures have 3"
        return
    if isinstance(height, int) and height != config.height:
        yield _should("input.height", height, config.height)
    if isinstance(width, int) and width != config.width:
        yield _should("input.width", width, config.width)


def _should(field: str, say: object, found: object, why: str = "") -> str:
    reason = f" ({why})" if why else ""
    return f"{CONFIG_FILE} should say {field} {say!r}{reason}, found {found!r}"
