"""Checks a graph against its config. Pure: names, types and shapes in, one sentence per fault out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from hotswap.errors import VersionFailed
from manifest.version_manifest import CONFIG_FILE, InputConfig

_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
# The axes of channels, height and width.
_AXES = {"NCHW": (1, 2, 3), "NHWC": (3, 1, 2), "HWC": (2, 0, 1)}

Side = int | str | None


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """An input or output as the graph declares it; a side that is not an integer is open."""

    name: str
    type: str
    shape: Sequence[Side]


def choose_input(
    inputs: Sequence[GraphTensor], config: InputConfig, fed: Collection[str] = ()
) -> GraphTensor:
    """The graph's input for pictures: the only one beside those that the family feeds.

    Raises `VersionFailed` for several, and for another name than the config's.
    """
    names = ", ".join(tensor.name for tensor in inputs)
    left = [tensor for tensor in inputs if tensor.name not in fed]
    if len(left) != 1:
        beside = f" beside {', '.join(fed)}" if fed else ""
        raise VersionFailed(
            f"the graph has {len(inputs)} inputs ({names}); exactly one{beside} is supported by this family"
        )
    (tensor,) = left
    if config.name not in (None, tensor.name):
        raise VersionFailed(_should("input.name", tensor.name, config.name, "the graph's input"))
    return tensor


def check_input(tensor: GraphTensor, config: InputConfig) -> None:
    """Raise `VersionFailed` with the corrections of `config.json` if the input does not fit it."""
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
    """The fixed batch size; None for an open batch."""
    if len(tensor.shape) == 3:
        return 1
    first = tensor.shape[0]
    return first if isinstance(first, int) and first > 0 else None


def _faults(tensor: GraphTensor, config: InputConfig) -> Iterator[str]:
    if len(tensor.shape) != len(config.layout):
        if len(tensor.shape) == 3 and tensor.shape[2] == 3:
            yield _should("input.layout", "HWC", config.layout, "3 axes are those of one picture")
        elif len(tensor.shape) == 4:
            yield _should("input.layout", "NCHW or NHWC", config.layout, "a batch has 4 axes")
        else:
            yield f"{config.layout} has {len(config.layout)} axes; export the graph with as many"
        return
    yield from _type_faults(tensor, config)
    yield from _shape_faults(tensor, config)
    if config.layout != "HWC" and batch_of(tensor) not in (None, 1):
        yield f"its batch size is fixed to {tensor.shape[0]}; export it with batch 1 or an open batch"


def _type_faults(tensor: GraphTensor, config: InputConfig) -> Iterator[str]:
    dtype = _TYPES.get(tensor.type)
    if dtype is None:
        yield f"{tensor.type} is not supported; export it with float32, float16 or uint8"
    elif dtype != config.dtype:
        yield _should("input.dtype", dtype, config.dtype)


def _shape_faults(tensor: GraphTensor, config: InputConfig) -> Iterator[str]:
    channels, height, width = (tensor.shape[axis] for axis in _AXES[config.layout])
    other = "NHWC" if config.layout == "NCHW" else "NCHW"
    if isinstance(channels, int) and channels != 3:
        if config.layout != "HWC" and tensor.shape[_AXES[other][0]] == 3:
            yield _should("input.layout", other, config.layout)
        else:
            yield f"it has {channels} channels; pictures have 3"
        return
    if isinstance(height, int) and height != config.height:
        yield _should("input.height", height, config.height)
    if isinstance(width, int) and width != config.width:
        yield _should("input.width", width, config.width)
    if config.resize.mode == "keep_aspect" and (isinstance(height, int) or isinstance(width, int)):
        yield _should("input.resize.mode", "stretch", config.resize.mode, "the graph's sides are fixed")


def _should(field: str, say: object, found: object, why: str = "") -> str:
    reason = f" ({why})" if why else ""
    return f"{CONFIG_FILE} should say {field} {say!r}{reason}, found {found!r}"
