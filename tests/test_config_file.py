"""The configuration file: every section and key, references, and what is said of files that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.document_findings import paths
from config_file import BadConfig, Config, load_config
from lineage.paths import DEVICE_ID

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "config.yaml"
SECRET = "hunter2-very-secret"

#: Every key of the file with its default.
DEFAULTS: dict[str, Any] = {
    "server.host": "127.0.0.1",
    "server.port": 3000,
    "server.workers": 1,
    "server.reload": False,
    "model.name": None,
    "model.checkpoint_path": None,
    "model.config_path": None,
    "model.device": "auto",
    "model.text_prompt": "bird",
    "model.box_threshold": 0.3,
    "model.text_threshold": 0.25,
    "model.nms_threshold": 0.5,
    "model.max_detections": 100,
    "model.min_box_area": 100.0,
    "validation.max_image_size_mb": 10.0,
    "validation.allowed_formats": ("jpeg", "png"),
    "validation.min_width": 256,
    "validation.min_height": 256,
    "lakefs.endpoint": None,
    "lakefs.access_key": None,
    "lakefs.secret_key": None,
    "lakefs.repository": "bird-detection",
    "lakefs.branch": "main",
    "lakefs.commit_strategy": "batch",
    "lakefs.batch_size": 10,
    "lakefs.batch_timeout_sec": 300.0,
    "database.host": None,
    "database.port": 5432,
    "database.database": "bird_detection",
    "database.user": None,
    "database.password": None,
    "database.pool_size": 10,
    "database.max_overflow": 20,
    "database.echo": False,
    "auth.enabled": True,
    "auth.required_for_predict": False,
    "auth.token_header": "X-API-Token",
    "auth.tokens": {},
    "batch_processing.enabled": True,
    "batch_processing.max_batch_size": 50,
    "batch_processing.batch_timeout_sec": 300.0,
    "observability.metrics.enabled": True,
    "observability.metrics.port": 9090,
    "observability.tracing.enabled": None,
    "observability.tracing.endpoint": None,
    "observability.logging.level": "INFO",
    "observability.logging.format": "json",
    "storage.max_total_gb": 100.0,
    "storage.retention_days": 90,
    "storage.cleanup_enabled": True,
    "storage.cleanup_schedule": "0 2 * * *",
    "storage.warning_threshold_gb": 85.0,
    "outbox.enabled": False,
}

#: A value of every key that is allowed, and is not its default; and what is read.
ALLOWED: dict[str, tuple[Any, Any]] = {
    "server.host": ("0.0.0.0", "0.0.0.0"),  # noqa: S104
    "server.port": (8000, 8000),
    "server.workers": (4, 4),
    "server.reload": (False, False),
    "model.name": ("bird", "bird"),
    "model.checkpoint_path": ("/models/bird/v1", "/models/bird/v1"),
    "model.config_path": ("/models/config.json", "/models/config.json"),
    "model.device": ("cuda:1", "cuda:1"),
    "model.text_prompt": ("bird . cat", "bird . cat"),
    "model.box_threshold": (0, 0.0),
    "model.text_threshold": (1, 1.0),
    "model.nms_threshold": (0.7, 0.7),
    "model.max_detections": (5, 5),
    "model.min_box_area": (0, 0.0),
    "validation.max_image_size_mb": (2.5, 2.5),
    "validation.allowed_formats": (["png"], ("png",)),
    "validation.min_width": (1, 1),
    "validation.min_height": (64, 64),
    "lakefs.endpoint": ("http://lakefs:8000", "http://lakefs:8000"),
    "lakefs.access_key": ("a", "a"),
    "lakefs.secret_key": ("s", "s"),
    "lakefs.repository": ("cats", "cats"),
    "lakefs.branch": ("experiment-1", "experiment-1"),
    "lakefs.commit_strategy": ("immediate", "immediate"),
    "lakefs.batch_size": (1, 1),
    "lakefs.batch_timeout_sec": (0.5, 0.5),
    "database.host": ("db", "db"),
    "database.port": (5433, 5433),
    "database.database": ("cats", "cats"),
    "database.user": ("u", "u"),
    "database.password": ("p", "p"),
    "database.pool_size": (1, 1),
    "database.max_overflow": (0, 0),
    "database.echo": (True, True),
    "auth.enabled": (False, False),
    "auth.required_for_predict": (True, True),
    "auth.token_header": ("X-Key", "X-Key"),
    "auth.tokens": ({"cam-1": "t"}, {"cam-1": "t"}),
    "batch_processing.enabled": (False, False),
    "batch_processing.max_batch_size": (10, 10),
    "batch_processing.batch_timeout_sec": (60, 60.0),
    "observability.metrics.enabled": (False, False),
    "observability.metrics.port": (0, 0),
    "observability.tracing.enabled": (True, True),
    "observability.tracing.endpoint": ("http://otel:4317", "http://otel:4317"),
    "observability.logging.level": ("DEBUG", "DEBUG"),
    "observability.logging.format": ("text", "text"),
    "storage.max_total_gb": (200, 200.0),
    "storage.retention_days": (1, 1),
    "storage.cleanup_enabled": (False, False),
    "storage.cleanup_schedule": ("*/5 * * * *", "*/5 * * * *"),
    "storage.warning_threshold_gb": (1, 1.0),
    "outbox.enabled": (True, True),
}
#: Keys that need others beside them.
BESIDE = {
    "database.password": {"user": "u"},
    "model.config_path": {"checkpoint_path": "/models/a.onnx"},
    "lakefs.endpoint": {"access_key": "a", "secret_key": "s"},
}

#: Values that are refused, by key.
REFUSED: dict[str, list[Any]] = {
    "server.host": [1, ["a"]],
    "server.port": ["many", -1, 65536, 1.5, [80]],
    "server.workers": [0, 65, "two"],
    "server.reload": [True, "perhaps"],
    "model.name": [5],
    "model.checkpoint_path": ["a.pth", "a.PT", "a.ckpt", "a.safetensors", 1],
    "model.config_path": ["GroundingDINO_SwinB.py", "a.json"],
    "model.device": ["gpu", "cuda:x", 0],
    "model.text_prompt": [1],
    "model.box_threshold": [1.1, -0.1, "high", float("nan")],
    "model.text_threshold": [2, float("inf")],
    "model.nms_threshold": [-1],
    "model.max_detections": [0, 1001],
    "model.min_box_area": [-1, float("inf")],
    "validation.max_image_size_mb": [0, "big", 1001],
    "validation.allowed_formats": [["gif"], "jpeg", [["png"]]],
    "validation.min_width": [0],
    "validation.min_height": [-5],
    "lakefs.endpoint": ["lakefs:8000", "http://u:p@lakefs", "http://lakefs/api/v1", "http://lakefs"],
    "lakefs.access_key": [1],
    "lakefs.secret_key": [1],
    "lakefs.repository": [1],
    "lakefs.branch": [1],
    "lakefs.commit_strategy": ["sometimes"],
    "lakefs.batch_size": [0, 10_001],
    "lakefs.batch_timeout_sec": [0, -1],
    "database.host": [1],
    "database.port": [70_000],
    "database.database": [1],
    "database.user": [1],
    "database.password": [12345],
    "database.pool_size": [0],
    "database.max_overflow": [-1],
    "database.echo": ["loud"],
    "auth.enabled": ["maybe"],
    "auth.required_for_predict": ["maybe"],
    "auth.token_header": ["X Token", "a:b", ""],
    "auth.tokens": [["t"], {"a/b": "t"}, {"..": "t"}, {"cam": ""}, {"cam": "with space"}, {"cam": 1}],
    "batch_processing.enabled": ["maybe"],
    "batch_processing.max_batch_size": [0, 1001],
    "batch_processing.batch_timeout_sec": [0, 3601],
    "observability.metrics.enabled": ["maybe"],
    "observability.metrics.port": [-1],
    "observability.tracing.enabled": ["perhaps"],
    "observability.tracing.endpoint": [1, "otel:4318"],
    "observability.logging.level": ["LOUD"],
    "observability.logging.format": ["xml"],
    "storage.max_total_gb": [0, 10],
    "storage.retention_days": [0],
    "storage.cleanup_enabled": ["maybe"],
    "storage.cleanup_schedule": ["daily", "0 2 * *", 5, "0 25 * * *", "0 0 31 2 *"],
    "storage.warning_threshold_gb": [0, 101],
    "outbox.enabled": ["maybe"],
}


def _nested(path: str, value: Any) -> dict[str, Any]:
    *sections, key = path.split(".")
    document: dict[str, Any] = {key: value, **BESIDE.get(path, {})}
    for section in reversed(sections):
        document = {section: document}
    return document


def _at(config: Config, path: str) -> Any:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _read(folder: Path, document: Any, **environment: str) -> Config:
    file = folder / "config.yaml"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return load_config(file, environment)


def _refused(folder: Path, document: Any, **environment: str) -> tuple[str, ...]:
    with pytest.raises(BadConfig) as refused:
        _read(folder, document, **environment)
    assert SECRET not in str(refused.value)
    assert all(finding.startswith("config.yaml: ") for finding in refused.value.findings)
    return tuple(finding.removeprefix("config.yaml: ") for finding in refused.value.findings)


def test_these_are_all_keys_and_their_defaults() -> None:
    assert list(paths(Config)) == list(DEFAULTS)
    assert {path: _at(load_config(None, {}), path) for path in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("text", ["", "server:\n", "server:\n  host:\nobservability:\n  logging:\n", "{}"])
def test_what_is_empty_has_its_defaults(tmp_path: Path, text: str) -> None:
    assert _read(tmp_path, text) == Config()


@pytest.mark.parametrize(("path", "values"), ALLOWED.items(), ids=ALLOWED)
def test_every_key_is_read(tmp_path: Path, path: str, values: tuple[Any, Any]) -> None:
    written, meant = values
    read = _at(_read(tmp_path, _nested(path, written)), path)
    assert (type(read), read) == (type(meant), meant)


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in REFUSED.items() for value in values]
)
def test_a_value_that_cannot_be_is_named_by_its_path(tmp_path: Path, path: str, value: Any) -> None:
    document = _nested(path, value)
    if path == "lakefs.endpoint" and value == "http://lakefs":
        document = {"lakefs": {"endpoint": value}}
    if value == "a.json":
        document = {"model": {"config_path": value}}
    (finding,) = _refused(tmp_path, document)
    place = finding.partition(": ")[0]
    assert place.startswith(path) or path.startswith(place), finding


def test_every_key_has_values_in_these_tests() -> None:
    assert list(ALLOWED) == list(REFUSED) == list(DEFAULTS)


#: Those that a variable can hold.
SINGLE = {path: values for path, values in ALLOWED.items() if not isinstance(values[0], list | dict)}


@pytest.mark.parametrize(("path", "values"), SINGLE.items(), ids=SINGLE)
def test_variables_give_numbers_switches_and_texts(
    tmp_path: Path, path: str, values: tuple[Any, Any]
) -> None:
    written, meant = values
    value = str(written).lower() if isinstance(written, bool) else str(written)
    assert _at(_read(tmp_path, _nested(path, "${VALUE}"), VALUE=value), path) == meant


@pytest.mark.parametrize("path", DEFAULTS)
def test_a_variable_that_gives_nothing_leaves_the_default(tmp_path: Path, path: str) -> None:
    document = _nested(path, "${VALUE:-}")
    for empty in ({}, {"VALUE": ""}):
        if path not in BESIDE:
            assert _at(_read(tmp_path, document, **empty), path) == DEFAULTS[path]


@pytest.mark.parametrize("path", DEFAULTS)
def test_a_missing_variable_is_named_with_its_key(tmp_path: Path, path: str) -> None:
    for environment in ({}, {"VALUE": ""}):
        (finding,) = _refused(tmp_path, _nested(path, "a ${VALUE} b"), **environment)
        assert finding.startswith(f"{path}: the variable VALUE is not set")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${A}", "one"),
        ("${A}${B:-x}-${C:-two}", "onex-two"),
        ("${C:-a:b-c d}", "a:b-c d"),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("$$A", "$$A"),
        ("100$", "100$"),
        ("${D}", "${A}"),
        ("${A:-unused}", "one"),
        ("${E:-used}", "used"),
    ],
)
def test_references_in_a_text(tmp_path: Path, written: str, meant: str) -> None:
    environment = {"A": "one", "D": "${A}", "E": ""}
    found = _read(tmp_path, {"model": {"text_prompt": written}}, **environment)
    assert found.model.text_prompt == meant


@pytest.mark.parametrize(
    "written", ["${", "${}", "${A", "${1A}", "${A-b}", "${A:-${B}}", "${A B}", "${file:}"]
)
def test_what_is_no_reference_is_told(tmp_path: Path, written: str) -> None:
    (finding,) = _refused(tmp_path, {"model": {"text_prompt": written}}, A="x", B="y")
    assert finding.startswith("model.text_prompt: ${ begins no reference")


def test_references_are_resolved_in_lists_and_never_in_keys(tmp_path: Path) -> None:
    found = _read(tmp_path, {"validation": {"allowed_formats": ["${A}"]}}, A="png")
    assert found.validation.allowed_formats == ("png",)
    (finding,) = _refused(tmp_path, {"auth": {"tokens": {"${A}": "t"}}}, A="cam")
    assert finding.startswith("auth.tokens.${A}: ")


def test_a_value_from_a_variable_is_no_yaml(tmp_path: Path) -> None:
    found = _read(tmp_path, "model:\n  text_prompt: ${A}\n", A="x\nserver: {port: 1}")
    assert found.model.text_prompt == "x\nserver: {port: 1}"
    assert found.server.port == 3000


def test_secrets_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    found = _read(tmp_path, {"database": {"user": "u", "password": f"${{file:{file}}}"}})
    assert found.database.password == SECRET


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"\xff", "not UTF-8"), (b"x" * 70_000, "larger than")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    (finding,) = _refused(tmp_path, {"database": {"password": f"${{file:{file}}}"}})
    assert finding.startswith(f"database.password: the file {file} ")
    assert said in finding
    (finding,) = _refused(tmp_path, {"database": {"password": "${file:relative}"}})
    assert "no absolute path" in finding


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"database": {"pasword": SECRET}}, "database.pasword: unknown key; did you mean password?"),
        ({"databse": {"password": SECRET}}, "databse: unknown key; did you mean database?"),
        ({"password": SECRET}, "password: unknown key; did you mean database.password?"),
        (
            {"observability": {"loging": {"level": SECRET}}},
            "observability.loging: unknown key; did you mean logging?",
        ),
        (
            {"observability": {"logging": {"Level": SECRET}}},
            "observability.logging.Level: unknown key; did you",
        ),
        ({"server": {"xyz": SECRET}}, "server.xyz: unknown key; known are host, port, workers, reload"),
        ({"server": {"xyz": None}}, "server.xyz: unknown key"),
        ({"x" * 500: 1}, f"{'x' * 61}...: unknown key; known are server, "),
        ({"server": SECRET}, "server: must hold keys"),
        ({"auth": [SECRET]}, "auth: must hold keys"),
    ],
)
def test_unknown_keys_are_named_with_the_nearest_known(tmp_path: Path, document: Any, said: str) -> None:
    (finding,) = _refused(tmp_path, document)
    assert finding.startswith(said)


def test_wrong_types_are_named_with_what_was_found_and_what_is_allowed(tmp_path: Path) -> None:
    findings = _refused(
        tmp_path,
        {"server": {"port": "many"}, "model": {"name": 7}, "validation": {"allowed_formats": ["gif"]}},
    )
    assert findings == (
        "server.port: must be a valid integer, unable to parse string as an integer, found 'many'",
        "model.name: must be a valid string, found 7; put it in quotes",
        "validation.allowed_formats[0]: must be 'jpeg' or 'png', found 'gif'",
    )


@pytest.mark.parametrize(
    "document",
    [
        {"server": {"port": "${PASSWORD}"}},
        {"database": {"password": [SECRET]}},
        {"database": {"host": "db", "password": SECRET}},
        {"database": {"password": {"value": SECRET}}},
        {"lakefs": {"access_key": [SECRET], "secret_key": [SECRET]}},
        {"lakefs": {"endpoint": "http://${PASSWORD}@x/y/z"}},
        {"auth": {"tokens": {"cam": f"{SECRET} {SECRET}"}}},
        {"auth": {"tokens": SECRET}},
        {"lakefs": {"endpoint": f"http://user:{SECRET}@lakefs"}},
        {"auth": {"tokens": [SECRET]}},
        {"model": {"text_prompt": ["${PASSWORD}"]}},
        f"database:\n  password: *{SECRET}\n",
        f"database:\n  password: &{SECRET}\n",
        f"database:\n  password: !{SECRET}\n",
        f"database:\n  password: '{SECRET}\n",
        f"database:\n  password: @{SECRET}\n",
        f"database:\n  password: %{SECRET}: x: y\n",
        f"%TAG !{SECRET}\n---\n",
        f"database:\n  password: {SECRET}: x\n",
        f'database:\n  password: "\\q{SECRET}"\n',
    ],
)
def test_no_message_shows_a_secret(tmp_path: Path, document: Any) -> None:
    assert _refused(tmp_path, document, PASSWORD=SECRET)


def test_no_representation_shows_a_secret(tmp_path: Path) -> None:
    document = {
        "database": {"host": "db", "user": "u", "password": SECRET},
        "lakefs": {"access_key": SECRET, "secret_key": SECRET},
        "auth": {"tokens": {"cam-1": SECRET}},
    }
    found = _read(tmp_path, document)
    shown = f"{found!r} {found} {json.dumps(found.given())}"
    assert SECRET not in shown
    assert found.given()["database"] == {"host": "db", "user": "u"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: {port: 1}\nserver: {port: 2}", "line 2: the key server is there twice"),
        ("server:\n  port: 1\n  port: 2", "line 3: the key port is there twice"),
        ("a: &a [x, x]\nb: *a", "line 1: anchors"),
        ("server: *a", "line 1: anchors"),
        ("server: !!python/object/apply:os.system [ls]", "line 1: tags"),
        ("- server", "holds no sections"),
        ("text", "holds no sections"),
        ("server: {", "line 1: "),
        ("server: " + "[" * 10_000, "line 1: more than"),
        ("server: [" + "1," * 30_000 + "]", "line 1: more than"),
        ("#" * 1_000_001, "1000001 characters, at most 1000000"),
        ("a: \x00", "the document has a character"),
        ("---\na: 1\n---\nb: 1", "line 3: "),
        ("? [a]\n: 1", "line 1: a key is no text"),
    ],
)
def test_a_document_that_is_none_of_ours(tmp_path: Path, text: str, said: str) -> None:
    (finding,) = _refused(tmp_path, text)
    assert finding.startswith(said)


def test_keys_are_texts_as_they_are_written(tmp_path: Path) -> None:
    found = _read(tmp_path, "auth:\n  tokens:\n    001: a\n    on: b\n    1e3: c\n")
    assert found.auth.tokens == {"001": "a", "on": "b", "1e3": "c"}


@pytest.mark.parametrize("make", ["nothing", "folder", "bytes"])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, make: str) -> None:
    file = tmp_path / "config.yaml"
    if make == "folder":
        file.mkdir()
    elif make == "bytes":
        file.write_bytes(b"server: \xff")
    with pytest.raises(BadConfig) as refused:
        load_config(file, {})
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("name", ["a", "cam-1", "A.b_c", "a" * 100, "a" * 101, "-a", ".a", "a/b", "a b", "ü"])
def test_devices_are_called_what_their_folders_may_be_called(tmp_path: Path, name: str) -> None:
    document = {"auth": {"tokens": {name: "t"}}}
    if DEVICE_ID.fullmatch(name):
        assert _read(tmp_path, document).auth.tokens == {name: "t"}
    else:
        _refused(tmp_path, document)


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ({}, None),
        ({"user": "u", "password": "p"}, None),
        ({"host": "db"}, "postgresql://db:5432/bird_detection"),
        ({"host": "::1", "user": "u", "port": 1}, "postgresql://u@[::1]:1/bird_detection"),
        (
            {"host": "db", "user": "a@b", "password": "p:/?#@ü%", "database": "a/b"},
            "postgresql://a%40b:p%3A%2F%3F%23%40%C3%BC%25@db:5432/a%2Fb",
        ),
    ],
)
def test_the_database_has_a_url_whatever_its_password_holds(
    tmp_path: Path, keys: dict[str, Any], url: str | None
) -> None:
    assert _read(tmp_path, {"database": keys}).database.url == url


def test_the_example_has_every_key_with_its_default() -> None:
    document = yaml.safe_load(EXAMPLE.read_text())
    assert sorted(paths(Config)) == sorted(_leaves(document))
    assert load_config(EXAMPLE, {}) == Config()


def test_the_example_takes_what_compose_sets() -> None:
    environment = {
        "LAKEFS_ENDPOINT": "http://lakefs:8000",
        "LAKEFS_ACCESS_KEY": "a",
        "LAKEFS_SECRET_KEY": "s",
        "POSTGRES_HOST": "postgres",
        "POSTGRES_USER": "u",
        "POSTGRES_PASSWORD": "p",
        "DEVICE_001_TOKEN": "t1",
    }
    found = load_config(EXAMPLE, environment)
    assert (found.database.host, found.database.user, found.database.password) == ("postgres", "u", "p")
    assert found.lakefs.endpoint == "http://lakefs:8000"
    assert found.auth.tokens == {"device-001": "t1"}


def _leaves(document: Any, above: str = "") -> list[str]:
    """The paths of a document as the file has them; `auth.tokens` is one key."""
    if not isinstance(document, dict) or above == "auth.tokens":
        return [above]
    return [leaf for key, each in document.items() for leaf in _leaves(each, f"{above}.{key}".lstrip("."))]
