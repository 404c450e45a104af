"""Trains the demo detector on drawn pictures and writes it as ONNX.

Run as `python -m examples.shapes.train --out weights.onnx`.
"""

import argparse
import importlib.util
from pathlib import Path

from .dataset import draw_all
from .drawing import HELD_OUT_SEED

EXTRAS = ("jax", "optax", "onnx", "onnxruntime")
NEED = f"Needs more than serving does: pip install {' '.join(EXTRAS)}"


def parser() -> argparse.ArgumentParser:
    """What the command line may ask for."""
    asks = argparse.ArgumentParser(description="Train the demo detector `shapes`.", epilog=NEED)
    asks.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    asks.add_argument("--seed", type=int, default=1, help="of drawings, start and order")
    asks.add_argument("--scenes", type=int, default=1500, help="pictures to draw")
    asks.add_argument("--steps", type=int, default=400)
    asks.add_argument("--batch", type=int, default=32)
    asks.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate")
    asks.add_argument("--every", type=int, default=100, help="steps between two saved files")
    asks.add_argument("--workers", type=int, default=2, help="processes that draw")
    return asks


def arguments() -> argparse.Namespace:
    """What the command line asks for, if it can be done here."""
    asks = parser()
    wanted = asks.parse_args()
    if missing := [name for name in EXTRAS if importlib.util.find_spec(name) is None]:
        asks.error(f"{', '.join(missing)} not installed. {NEED}")
    if wanted.seed == HELD_OUT_SEED:
        asks.error(f"seed {HELD_OUT_SEED} is the held-out series: never train on it")
    return wanted


def main() -> None:
    """Draw, train, write and compare."""
    wanted = arguments()
    # Imported only now, so that --help and the message about missing packages need none of them.
    from .export import difference
    from .learning import Course, train
    from .network import served_count

    data = draw_all(wanted.seed, wanted.scenes, wanted.workers)
    course = {name: getattr(wanted, name) for name in Course._fields}
    params = train(data, Course(**course))
    apart = difference(params, wanted.out)
    print(f"{wanted.out}: {served_count()} parameters, differs from jax by {apart:.1g}")


if __name__ == "__main__":
    main()
