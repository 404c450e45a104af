"""What `import okawari` offers, and a model family that is written with nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import okawari
from runners.families import index
from tests.runners.graphs import CLASSIFIER, constant_graph, load
from tests.runners.runs import PICTURE

ROOT = Path(__file__).parent.parent
FROM_OUTSIDE = '''
from okawari import Detection, Family, Found, Parameters, expect, only


class BrightestParameters(Parameters):
    least: float = 0.0


class Brightest(Family[BrightestParameters]):
    """The label of the largest value."""

    name = "brightest"
    task = "image-classification"
    schema = BrightestParameters

    def check(self, outputs):
        expect(only(outputs).shape == (len(self.config.labels),), "[labels]", only(outputs).shape)

    def find(self, outputs, geometry, options):
        values = only(outputs)
        best = int(values.argmax())
        if values[best] < max(self.parameters.least, self.threshold(options)):
            return Found()
        return Found((Detection(self.config.labels[best], best, float(values[best]), None),))
'''


def test_every_public_name_is_there_and_no_other():
    assert sorted(okawari.__all__) == okawari.__all__
    assert {name for name in dir(okawari) if getattr(okawari, name) is None} == set()
    with pytest.raises(AttributeError, match="wishes"):
        okawari.wishes  # noqa: B018


@pytest.mark.process
def test_import_is_quick_until_a_name_is_used():
    code = "import sys, okawari; assert not {'numpy', 'pydantic'} & set(sys.modules); okawari.Family"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=ROOT)


@pytest.mark.parametrize(("least", "labels"), [(0.1, ["b"]), (0.9, [])])
def test_a_family_from_outside_answers(tmp_path, monkeypatch, least, labels):
    names: dict[str, type] = {}
    exec(FROM_OUTSIDE, names)  # noqa: S102 - it is written above
    monkeypatch.setitem(index.FAMILIES, "brightest", names["Brightest"])
    config = CLASSIFIER | {"family": "brightest", "output": {"parameters": {"least": least}}}
    runner = load(tmp_path, constant_graph({"scores": np.array([0.25, 0.625, 0.125])}), config)
    prediction = runner.predict([PICTURE], okawari.Options()).items[0]

    assert [one.label for one in prediction.detections] == labels
