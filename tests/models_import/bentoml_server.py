"""BentoML's own command line, many times for the price of one import.

`python -m tests.models_import.bentoml_server` imports BentoML, then forks for every command that comes
on stdin: one JSON line `[environment, program, [argument…]]` in, one JSON line `[status, output]` out.
The program is `bentoml`, or a module of ours that uses BentoML.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn


class BentoML:
    """The server, seen from a test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.models_import.bentoml_server"],
            cwd=Path(__file__).parent.parent.parent,
            env=os.environ | {"BENTOML_DO_NOT_TRACK": "True", "COLUMNS": "200"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, home: Path, *arguments: str | Path, status: int = 0) -> str:
        """What `bentoml <arguments>` says of `home`; it must end with `status`."""
        found, output = self._ask({"BENTOML_HOME": str(home)}, "bentoml", *map(str, arguments))
        assert found == status, output
        return output

    def run_module(
        self, module: str, *arguments: str, timeout: float | None = None, **changes: str
    ) -> subprocess.CompletedProcess[bytes]:
        """In place of `models_import.subprocesses.run_module`; the tests have time limits of their own."""
        status, output = self._ask(changes, module, *arguments)
        return subprocess.CompletedProcess([module, *arguments], status, b"", output.encode())

    def _ask(self, environment: dict[str, str], *command: str) -> tuple[int, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([environment, command[0], command[1:]]) + "\n")
        self._process.stdin.flush()
        status, output = json.loads(self._process.stdout.readline())
        return status, output

    def close(self) -> None:
        """End the server."""
        self._process.communicate("")


def _serve() -> None:
    import bentoml  # noqa: F401 - every command needs it
    from bentoml_cli.cli import cli

    for line in sys.stdin:
        environment, program, arguments = json.loads(line)
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if child == 0:
                for number in (1, 2):
                    os.dup2(output.fileno(), number)
                os.environ.update(environment)
                _become(cli, program, arguments)
            _, status = os.waitpid(child, 0)
            output.seek(0)
            text = output.read().decode()
        print(json.dumps([os.waitstatus_to_exitcode(status), text]), flush=True)


def _become(cli: object, program: str, arguments: list[str]) -> NoReturn:
    status = 70
    try:
        if program == "bentoml":
            cli(arguments, prog_name=program)  # type: ignore[operator]
        else:
            sys.argv[1:] = arguments
            runpy.run_module(program, run_name="__main__")
            status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 - the caller sees status and trace
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
