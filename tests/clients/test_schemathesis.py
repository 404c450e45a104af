"""schemathesis reads our own description of the service and tries to find where it is not true.

It calls everything, so that models are unloaded and targets moved meanwhile: it has a service of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import PROGRAMS, Served, home_of, run, serving
from tests.e2e.sizes import LIMIT, SIZES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * LIMIT)]

EXAMPLES = SIZES.fuzz // 30
#: A schema cannot say which bytes are a picture, which names there are, or what a graph takes. Where a model
#: was unloaded 503 is the right answer, and 504 on a busy machine; the description has to say so.
CONFIG = """
[checks]
positive_data_acceptance.enabled = false
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503, 504]
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that may be changed."""
    with serving(tmp_path_factory.mktemp("tried")) as standing:
        yield standing


@pytest.mark.parametrize("part", ["^/v2", "^/(?!v2)"], ids=["open inference protocol", "ours"])
def test_it_finds_nothing(tried: Served, tmp_path: Path, part: str) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    program = [home_of("schemathesis") / "bin" / "schemathesis", "--config-file", "config.toml", "run"]
    wanted = ["--include-path-regex", part, "--max-examples", str(EXAMPLES), "--generation-deterministic"]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(PROGRAMS)}
    bounds = {"cwd": tmp_path, "timeout": LIMIT, "env": hooks}
    told = run(*program, f"http://{tried.http}/docs.json", *wanted, "--no-color", **bounds).stdout
    generated = re.search(r"(\d+) generated, (\d+) passed", told)
    assert generated is not None, told
    assert int(generated[1]) == int(generated[2]) > 100
