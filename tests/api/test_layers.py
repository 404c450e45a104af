"""What BentoML puts round every request, and what of it we take away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.sizes import LIMIT

_LAYERS = (
    "import service; print(*(layer.cls.__name__ for layer in service.SERVICE.to_asgi().user_middleware))"
)


@pytest.mark.e2e
@pytest.mark.timeout(LIMIT)
def test_no_layer_keeps_a_timer_for_every_request_it_saw(tmp_path: Path) -> None:
    """BentoML's time limit never ends its timers: a day's requests would stay in memory."""
    done = subprocess.run(
        [sys.executable, "-c", _LAYERS],
        cwd=Path(__file__).parents[2],
        env={"OKAWARI_HOME": str(tmp_path), "BENTOML_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "RequestMiddleware" in done.stdout.split()
    assert "TimeoutMiddleware" not in done.stdout.split()
