"""What holds for every command."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, main
from registry.file_store import DesiredFile
from tests.builders import write_version
from tests.cli.conftest import Okawari
from tests.models_import.shop import ROOT


def child(*arguments: str, home: Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    program = ["-c", code] if code else ["-m", "cli"]
    return subprocess.run(
        [sys.executable, *program, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "BENTOML_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(okawari: Okawari, name: str) -> None:
    text = okawari(name, "--help").stdout
    assert "Example" in text
    assert f"okawari {name}" in text


def test_help_lists_every_command(okawari: Okawari) -> None:
    text = okawari("--help").stdout
    assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["import"], ["pin", "code"], ["follow", "code", "v1"], ["models", "--nope"]]
)
def test_what_is_not_understood_ends_with_2(okawari: Okawari, arguments: list[str]) -> None:
    assert "Usage:" in okawari(*arguments, exit_code=2).stderr


def test_a_refusal_is_one_line(okawari: Okawari) -> None:
    text = okawari("pin", "nope", "v1", exit_code=1).stderr
    assert text.startswith("okawari: ")
    assert text.count("\n") == 1


def test_a_setting_that_cannot_be_is_a_refusal(okawari: Okawari, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "many")
    text = okawari("models", exit_code=1).stderr
    assert text.startswith("okawari: WORKERS: Input should be a valid integer")
    assert text.endswith(", found 'many'\n")


def test_a_damaged_state_is_a_refusal_that_names_the_file(okawari: Okawari, desired: DesiredFile) -> None:
    desired.path.parent.mkdir(parents=True)
    desired.path.write_text("{")
    assert str(desired.path) in okawari("models", exit_code=1).stderr


def test_a_fault_of_ours_is_not_dressed_as_a_refusal(
    okawari: Okawari, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cli.status_commands

    def broken() -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(cli.status_commands, "settings", broken)
    result = CliRunner().invoke(main, ["models"])
    assert isinstance(result.exception, LookupError)


@pytest.mark.parametrize("command", ["--help", "models", "status", "catalogue"])
@pytest.mark.process
def test_looking_imports_nothing_heavy(home: Path, command: str) -> None:
    code = (
        "import sys\nfrom cli.main import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: print(end.code)\n"
        "print(sorted({'bentoml', 'onnxruntime', 'numpy', 'PIL', 'httpx'} & set(sys.modules)))"
    )
    lines = child(command, home=home, code=code).stdout.splitlines()
    assert lines[-2:] == ["0", "[]"]


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_the_module_is_the_command(home: Path, tmp_path: Path) -> None:
    done = child("init", home=home)
    assert done.returncode == 0, done.stderr
    assert "imported exposure:v1" in done.stdout
    # Nothing but plain lines where there is no terminal.
    assert "\x1b" not in done.stdout + done.stderr
    assert child("init", home=home).stdout == ""
    assert "exposure" in child("models", home=home).stdout
    refused = child("remove", "exposure", "v2", home=home)
    assert (refused.returncode, refused.stderr[:9]) == (1, "okawari: ")


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_colours_and_bars_are_for_terminals(home: Path, tmp_path: Path) -> None:
    write_version(tmp_path, "code", "v1", 1, bytes_of_ballast=8_000_000)
    drawn = on_a_terminal("import", str(tmp_path / "code/v1"), home=home)
    assert "testing the model" in drawn
    assert "imported code:v1" in drawn
    assert "\x1b[" in on_a_terminal("models", home=home)


def on_a_terminal(*arguments: str, home: Path) -> str:
    """What a terminal is sent by a command that ends well."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "BENTOML_HOME": str(home), "TERM": "xterm-256color"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    with suppress(OSError), open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123 - a descriptor
        while block := terminal.read(4096):
            drawn += block
    assert process.wait() == 0, drawn
    return drawn.decode()


@pytest.mark.process
def test_a_reader_that_leaves_is_told_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cli", "schema"],
            env=os.environ | {"PYTHONPATH": str(ROOT), "BENTOML_HOME": str(tmp_path)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_variable_that_is_no_setting_is_told_once_by_commands_that_read_settings(
    okawari: Okawari, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OKAWARI_WORKERS", "4")
    for command in (["models"], ["status"], ["models", "--json"]):
        done = okawari(*command)
        assert done.stderr.count("OKAWARI_WORKERS: ") == 1
        assert "use WORKERS" in done.stderr
        assert "OKAWARI_WORKERS" not in done.stdout
    assert "OKAWARI_WORKERS" not in okawari("families").output
