"""Who may import whom: the house's table, held against every import statement of the code."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "adapters",
    "api",
    "bootstrap",
    "cli",
    "common",
    "config_file",
    "detection",
    "model_memory",
    "evaluation",
    "hotswap",
    "identity",
    "lineage",
    "manifest",
    "migrations",
    "models_import",
    "okawari",
    "registry",
    "residency",
    "runners",
    "service",
    "settings",
    "soak",
    "streaming",
    "team_service",
    "telemetry",
    "workers",
}
ALL = ROOMS
#: The core, and what it stands on.
CORE = {"common", "manifest", "residency", "hotswap"}
#: What each room may import: our rooms, and libraries of others (any room may use pydantic).
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "common": (set(), set()),
    "manifest": ({"common"}, set()),
    "residency": ({"common"}, set()),
    "hotswap": ({"common", "manifest", "residency"}, {"numpy"}),
    "runners": (
        CORE,
        {"onnxruntime", "PIL", "pillow_heif", "simplejpeg", "tokenizers", "zlib_ng", "numpy", "onnx"},
    ),
    "evaluation": (CORE | {"runners"}, {"numpy"}),
    "models_import": (CORE | {"runners"}, {"bentoml", "watchfiles", "yaml", "httpx"}),
    "registry": (CORE, set()),
    "lineage": (CORE, set()),
    "adapters": (
        CORE | {"lineage", "migrations", "registry"},
        {"sqlalchemy", "alembic", "obstore", "httpx"},
    ),
    "migrations": ({"adapters"}, {"sqlalchemy", "alembic"}),
    "okawari": (CORE | {"adapters", "registry", "runners"}, set()),
    "workers": (CORE, {"circus", "psutil"}),
    "telemetry": (
        CORE | {"lineage", "streaming"},
        {"prometheus_client", "orjson", "pynvml", "opentelemetry"},
    ),
    "api": (
        CORE | {"lineage", "registry", "telemetry"},
        {
            *(
                "fastapi",
                "fastapi_offline",
                "starlette",
                "prometheus_client",
                "orjson",
                "python_multipart",
                "anyio",
                "numpy",
            ),
            "PIL",
            *("grpc", "grpc_health", "grpc_reflection", "google", "httptools", "uvicorn"),
        },
    ),
    "streaming": (set(), {"aiohttp", "confluent_kafka"}),
    "soak": (CORE | {"models_import", "settings", "workers"}, {"aiohttp", "httpx", "psutil", "PIL"}),
    "config_file": ({"common"}, set()),
    "settings": ({"common"}, {"pydantic_settings"}),
    "detection": (ALL, {"anyio"}),
    "identity": (ALL, set()),
    "model_memory": (ALL, set()),
    "team_service": (ALL, set()),
    "bootstrap": (ALL, {"prometheus_client"}),
    "service": (ALL, {"bentoml", "starlette", "circus", "uvicorn"}),
    "cli": (ALL, {"click", "rich", "bentoml"}),
}
#: Files that may import more than their room: one driver, one file.
EXTRA = {
    "telemetry/model_events.py": {"confluent_kafka"},
    "streaming/vectors.py": {"qdrant_client"},
    "cli/stream_options.py": {"confluent_kafka"},
    "cli/events_command.py": {"qdrant_client"},
    "cli/dlq_commands.py": {"confluent_kafka"},
    "streaming/flink/jobs/http_dispatcher.py": {"pyflink"},
    "adapters/fruit_defect_runner.py": {"numpy", "onnxruntime", "PIL"},
    "adapters/sql/change_hints.py": {"psycopg"},
    "api/access/bearer_tokens.py": {"jwt"},
    "api/access/signing_keys.py": {"jwt"},
    "api/http/predict.py": {"bentoml"},
    "cli/audit_command.py": {"cryptography"},
    "cli/client.py": {"httpx"},
    "common/cron.py": {"cronsim"},
    "common/strict_yaml.py": {"yaml"},
    "evaluation/picture_facts.py": {"PIL"},
    "models_import/probe.py": {"numpy", "onnxruntime"},
    "registry/audit_check.py": {"cryptography"},
    "registry/audit_key.py": {"cryptography"},
    "registry/signatures.py": {"model_signing"},
}


def _files() -> Iterator[tuple[str, Path]]:
    for room in sorted(ROOMS):
        single = ROOT / f"{room}.py"
        paths = [single] if single.exists() else sorted((ROOT / room).rglob("*.py"))
        yield from ((room, path) for path in paths)


def _imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def _name(value: object) -> str:
    return str(value).removeprefix(f"{ROOT}/")


@pytest.mark.parametrize(("room", "path"), list(_files()), ids=_name)
def test_a_room_imports_only_what_the_table_allows(room: str, path: Path) -> None:
    rooms, libraries = TABLE[room]
    allowed = rooms | libraries | {room, "config_file", "settings", "pydantic"} | set(sys.stdlib_module_names)
    allowed |= EXTRA.get(str(path.relative_to(ROOT)), set())
    assert _imported(path) - allowed == set()


def test_the_table_would_notice_a_forbidden_import(tmp_path: Path) -> None:
    file = tmp_path / "slot.py"
    file.write_text("import bentoml\nfrom api.errors import HTTP\n")
    assert _imported(file) - TABLE["hotswap"][0] - TABLE["hotswap"][1] == {"bentoml", "api"}
