"""schemathesis reads descriptions of the service and tries to find where they are not true.

It calls everything, so that models are unloaded and targets moved meanwhile: it has a service of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clients.conftest import PROGRAMS, Served, home_of, run, serving
from tests.e2e.sizes import FULL_SIZE, LIMIT, SIZES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3 * LIMIT)]

EXAMPLES = SIZES.fuzz // (30 if FULL_SIZE else 100)
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


def tries(document: str, folder: Path, *words: str | Path) -> None:
    """Let it try a description; it passes everything that it made of it."""
    (folder / "config.toml").write_text(CONFIG)
    program = [home_of("schemathesis") / "bin" / "schemathesis", "--config-file", "config.toml", "run"]
    wanted = ["--max-examples", str(EXAMPLES), "--generation-deterministic", "--no-color"]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(PROGRAMS)}
    told = run(*program, document, *words, *wanted, cwd=folder, timeout=2 * LIMIT, env=hooks).stdout
    generated = re.search(r"(\d+) generated, (\d+) passed", told)
    assert generated is not None, told
    assert int(generated[1]) == int(generated[2]) > 100


def test_it_finds_nothing_by_the_protocols_own_description(tried: Served, tmp_path: Path) -> None:
    """Its schemas are those of the generated client; whatever is refused has the one shape of errors."""
    python = home_of("typed") / "bin" / "python"
    (tmp_path / "oip.json").write_text(run(python, PROGRAMS / "specification.py", "m", "shapes").stdout)
    for name in ("m", "shapes"):  # another test may have left them unloaded
        httpx.post(f"http://{tried.http}/models/{name}/load", timeout=60).raise_for_status()
    before = tried.answered()
    tries("oip.json", tmp_path, "--url", f"http://{tried.http}")
    assert tried.answered() > before


@pytest.mark.parametrize("part", ["^/v2", "^/(?!v2)"], ids=["open inference protocol", "ours"])
def test_it_finds_nothing_by_our_description(tried: Served, tmp_path: Path, part: str) -> None:
    tries(f"http://{tried.http}/docs.json", tmp_path, "--include-path-regex", part)
