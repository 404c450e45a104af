"""What the compose file promises: a read-only store for the service, the whole home for the importer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.database_commands import upgrade_command
from cli.import_commands import import_command
from config_file import load_config
from settings import Settings

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of docker-compose.yml by name."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def _mounts(service: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Source and mode by target."""
    rows = (re.fullmatch(r"(.+?):(/[^:]+)(?::(ro))?", text) for text in service["volumes"])
    return {row[2]: (row[1], row[3] or "rw") for row in rows if row}


def _filled(text: str, **variables: str) -> str:
    """A value of the file when these variables are set, and no others."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1]) or found[2], text)


def _settings(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """What the service in the container is set to."""
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, _filled(value, **variables))
    return Settings()


def test_the_service_mounts_only_the_models_and_cannot_write_them(services: dict[str, Any]) -> None:
    mounts = _mounts(services["service"])
    home = services["service"]["environment"]["BENTOML_HOME"]
    source, mode = mounts[f"{home}/models"]
    assert (source.rsplit("/", 1)[1], mode) == ("models", "ro")
    assert home not in mounts
    assert mounts[services["service"]["environment"]["OKAWARI_HOME"]][1] == "rw"


@pytest.mark.parametrize("name", ["import", "drop"])
def test_whoever_imports_has_staging_and_models_on_one_mount(services: dict[str, Any], name: str) -> None:
    importer = services[name]
    mounts = _mounts(importer)
    home = importer["environment"]["BENTOML_HOME"]
    assert home in mounts
    assert not home.startswith("/home/bentoml")
    assert not any(target.startswith(f"{home}/") for target in mounts)
    service = _mounts(services["service"])["/home/bentoml/models"][0]
    assert service == f"{mounts[home][0]}/models"


def test_the_service_has_health_grace_and_limits(services: dict[str, Any]) -> None:
    service = services["service"]
    assert "/readyz" in str(service["healthcheck"]["test"])
    assert int(service["stop_grace_period"].removesuffix("s")) > 30
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert all(_filled(port).startswith("127.0.0.1:") for port in service["ports"])
    opened = [_filled(port, OKAWARI_BIND="0.0.0.0") for port in service["ports"]]  # noqa: S104
    assert opened == ["0.0.0.0:3000:3000", "0.0.0.0:50051:50051"]


def test_the_service_offers_grpc_on_the_port_that_is_published(services: dict[str, Any]) -> None:
    service = services["service"]
    port = service["environment"]["GRPC_PORT"]
    assert f"127.0.0.1:4:{port}" in [_filled(each, GRPC_PORT="4") for each in service["ports"]]
    assert "0.0.0.0" in service["command"]  # noqa: S104 - in a container


def test_without_variables_grpc_is_plain_text(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _settings(services["service"], monkeypatch)
    assert (found.grpc_tls_cert, found.grpc_tls_key, found.grpc_tls_client_ca) == (None, None, None)
    assert (found.admin_token, found.grpc_port, found.serve) == (None, 50051, "*")


def test_certificates_are_named_by_variables_and_lie_in_a_folder_that_can_only_be_read(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "OKAWARI_GRPC_TLS_CERT": "/certs/tls.crt",
        "OKAWARI_GRPC_TLS_KEY": "/certs/tls.key",
        "OKAWARI_GRPC_TLS_CLIENT_CA": "/certs/ca.crt",
    }
    found = _settings(services["service"], monkeypatch, **files)
    told = [found.grpc_tls_cert, found.grpc_tls_key, found.grpc_tls_client_ca]
    assert [str(path) for path in told] == list(files.values())
    source, mode = _mounts(services["service"])["/certs"]
    assert (_filled(source), mode) == ("./var/compose/certs", "ro")
    assert _filled(source, OKAWARI_CERTS="./mine") == "./mine"


def test_the_drop_folder_is_watched_where_it_is_mounted_and_notes_can_be_written(
    services: dict[str, Any],
) -> None:
    drop = services["drop"]
    source, mode = _mounts(drop)["/models"]
    assert (source, mode) == ("${OKAWARI_DROP:-./models}", "rw")
    assert _mounts(services["import"])["/models"] == (source, "ro")
    words = drop["entrypoint"][drop["entrypoint"].index("cli") + 1 :]
    assert import_command.make_context("import", words[1:]).params["drop"] == Path("/models")
    assert words[0] == "import"


def test_the_drop_folder_is_tended_with_no_more_rights_than_the_service(services: dict[str, Any]) -> None:
    drop, service = services["drop"], services["service"]
    for setting in ("image", "user", "security_opt", "cap_drop", "init", "restart"):
        assert drop[setting] == service[setting], setting
    assert drop["network_mode"] == "none"
    assert "ports" not in drop
    assert drop["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert _mounts(drop).keys() == {"/models", drop["environment"]["BENTOML_HOME"]}
    assert drop["depends_on"] == service["depends_on"]


# --- the profile `detect` ------------------------------------------------------------------------

DEFAULT = {"import", "drop", "folders", "service"}
OURS = {"inference-server", "detect-folders", "detect-import", "migrations", "lakefs-repository"}
OTHERS = {"postgres", "minio", "lakefs"}
LASTING = {"inference-server", *OTHERS}
#: Secrets → the services that may know them.
SECRETS = {
    "POSTGRES_PASSWORD": {"inference-server", "detect-import", "migrations", "postgres", "lakefs"},
    "LAKEFS_ACCESS_KEY": {"inference-server", "detect-import", "migrations", "lakefs", "lakefs-repository"},
    "LAKEFS_SECRET_KEY": {"inference-server", "detect-import", "migrations", "lakefs", "lakefs-repository"},
    "LAKEFS_ENCRYPT_KEY": {"lakefs"},
    "MINIO_ACCESS_KEY": {"minio-hot", "fruit-inference-http", "minio", "lakefs"},
    "MINIO_SECRET_KEY": {"minio-hot", "fruit-inference-http", "minio", "lakefs"},
    "DEVICE_001_TOKEN": {"inference-server", "detect-import", "migrations"},
    "DEVICE_002_TOKEN": {"inference-server", "detect-import", "migrations"},
}


def _document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def test_without_a_profile_nothing_but_the_plain_service_starts(services: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles", []) for name, service in services.items()}
    assert {name for name, each in profiles.items() if each == []} == DEFAULT
    assert {name for name, each in profiles.items() if each == ["detect"]} == OURS | OTHERS
    assert all(set(services[name].get("depends_on", {})) <= {"folders"} for name in DEFAULT)


def test_older_releases_of_compose_read_the_file(services: dict[str, Any]) -> None:
    assert "name" not in _document()
    assert "version" not in _document()
    assert all(isinstance(port, str) for service in services.values() for port in service.get("ports", []))


@pytest.mark.process
@pytest.mark.parametrize("profile", [[], ["--profile", "detect"], ["--profile", "stream"]])
def test_compose_itself_reads_the_file(profile: list[str]) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    command = ["docker-compose", "--env-file", ".env.example", *profile, "config", "-q"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_ports_are_published_on_loopback_and_the_database_on_none(services: dict[str, Any]) -> None:
    ports = {
        name: [_filled(port) for port in services[name].get("ports", [])] for name in sorted(OURS | OTHERS)
    }
    assert {name: each for name, each in ports.items() if each} == {
        "inference-server": ["127.0.0.1:8000:8000", "127.0.0.1:9090:9090"],
        "lakefs": ["127.0.0.1:8001:8000"],
        "minio": ["127.0.0.1:9000:9000", "127.0.0.1:9001:9001"],
    }
    opened = {
        port
        for name in OURS | OTHERS
        for port in services[name].get("ports", [])
        if _filled(port, OKAWARI_BIND="0.0.0.0").startswith("0.0.0.0")  # noqa: S104
    }
    assert {port.rpartition(":")[2] for port in opened} == {"8000"}


def test_the_detection_server_listens_where_it_is_published_and_reads_the_mounted_file(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = services["inference-server"]
    assert server["command"] == ["serve", "--host", "0.0.0.0", "--port", "8000"]  # noqa: S104
    mounts = _mounts(server)
    assert mounts["/models"] == ("${OKAWARI_DROP:-./models}", "ro")
    source, mode = mounts[server["environment"]["OKAWARI_CONFIG"]]
    assert (_filled(source), mode) == ("./config.yaml", "ro")
    assert mounts["/state"][0] != _mounts(services["service"])["/state"][0], "one service per home"
    secrets = {name: f"value-{name}" for name in SECRETS}
    environment = {name: _filled(value, **secrets) for name, value in server["environment"].items()}
    found = load_config(ROOT / "examples" / "config.yaml", environment)
    assert found.database.url == "postgresql://okawari:value-POSTGRES_PASSWORD@postgres:5432/bird_detection"
    assert found.lakefs.endpoint == "http://lakefs:8000"
    assert found.auth.tokens == {
        "device-001": "value-DEVICE_001_TOKEN",
        "device-002": "value-DEVICE_002_TOKEN",
    }
    assert "9090" in {port.rpartition(":")[2] for port in server["ports"]}
    assert found.observability.metrics.port == 9090
    assert environment["WORKERS"] == "", "as config.yaml says"


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_has_a_default_and_each_is_known_to_few(services: dict[str, Any], name: str) -> None:
    assert f"\n{name}=\n" in (ROOT / ".env.example").read_text()
    text = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(rf"\$\{{{name}[^}}]*\}}", text)) == {f"${{{name}:-}}"}
    knowing = {each for each, service in services.items() if f"${{{name}:-}}" in str(service)}
    assert knowing == SECRETS[name]


@pytest.mark.process
def test_a_server_without_its_secret_does_not_start(services: dict[str, Any]) -> None:
    """PostgreSQL and lakeFS refuse an empty one themselves; MinIO would use one that everybody knows."""
    script = services["minio"]["entrypoint"][2].replace("$$", "$").partition("mkdir")[0] + "echo starts"
    for user, password, status in (("", "", 1), ("u", "", 1), ("", "p", 1), ("u", "p", 0)):
        variables = {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password}
        done = subprocess.run(["/bin/sh", "-c", script], env=variables, capture_output=True, check=False)
        assert done.returncode == status
        assert (b"MINIO_ACCESS_KEY" in done.stderr) == (status == 1)
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == "${POSTGRES_PASSWORD:-}"


@pytest.mark.parametrize("name", sorted(OURS | OTHERS))
def test_all_of_the_profile_have_few_rights(services: dict[str, Any], name: str) -> None:
    service = services[name]
    if name == "detect-folders":  # it gives a folder away, and ends
        assert service["entrypoint"][-1].startswith("chown ")
        return
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    if name in OURS:
        assert service["user"] == "1034:1034"
    if name in LASTING:
        assert service["restart"] == "unless-stopped"
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    else:
        assert service["restart"] == "no"


def test_tables_and_repository_are_there_before_the_server(services: dict[str, Any]) -> None:
    needs = services["inference-server"]["depends_on"]
    for one_shot in ("migrations", "lakefs-repository", "folders", "detect-folders"):
        assert needs[one_shot] == {"condition": "service_completed_successfully"}
    # A refused version must not prevent the start.
    assert needs["detect-import"] == {"condition": "service_started"}
    words = services["migrations"]["entrypoint"]
    assert words[:5] == ["python", "-m", "cli", "db", upgrade_command.name]
    assert services["migrations"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    words = services["detect-import"]["entrypoint"]
    assert import_command.make_context("import", words[4:]).params["from_file"] is True
    assert int(services["inference-server"]["stop_grace_period"].removesuffix("s")) > 30


def test_data_lie_in_volumes_and_lakefs_has_a_database_of_its_own(services: dict[str, Any]) -> None:
    assert set(_document()["volumes"]) == {
        "postgres_data",
        "minio_data",
        "kafka_data",
        "hot_data",
        "flink_checkpoints",
    }
    assert _mounts(services["postgres"])["/var/lib/postgresql/data"][0] == "postgres_data"
    assert _mounts(services["minio"])["/data"][0] == "minio_data"
    source, mode = _mounts(services["postgres"])["/docker-entrypoint-initdb.d/lakefs.sql"]
    assert mode == "ro"
    assert "CREATE DATABASE lakefs;" in (ROOT / source).read_text()
    connection = services["lakefs"]["environment"]["LAKEFS_DATABASE_POSTGRES_CONNECTION_STRING"]
    assert "dbname=lakefs " in connection
    source, _ = _mounts(services["lakefs-repository"])["/app/lakefs_repository.py"]
    assert (ROOT / source).is_file()
    assert services["lakefs-repository"]["entrypoint"] == ["python", "/app/lakefs_repository.py"]


def test_the_example_of_variables_names_all_that_the_profile_reads() -> None:
    told = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    text = (ROOT / "docker-compose.yml").read_text()
    read = set(re.findall(r"\$\{(\w+):-", text)) - {
        "PORT",
        "GRPC_PORT",
        "WORKERS",
        "MINIO_IMAGE",
        "LAKEFS_IMAGE",
        "KAFKA_IMAGE",
        "FLINK_IMAGE",
    }
    assert {*SECRETS, "POSTGRES_USER"} <= told
    assert told <= read
    assert {name for name in read if not name.startswith("OKAWARI_")} <= told


# --- profile `stream` ------------------------------------------------------------------------------


STREAM = {
    *("fruit-inference-http", "flink-dispatcher-fruit", "team-import", "team-folders", "stream-topics"),
    *("kafka", "flink-jobmanager", "flink-taskmanager", "minio-hot"),
}


def test_the_profile_for_streams_is_one_of_its_own(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "stream" in service.get("profiles", ())} == STREAM
    assert all(services[name]["profiles"] == ["stream"] for name in STREAM)
    one_shots = {"team-folders", "stream-topics"}
    assert {name for name in STREAM if services[name]["restart"] == "no"} == one_shots
    for name in STREAM - one_shots:
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert services[name]["networks"] == ["ag_cloud"]
        assert all(str(port).startswith("127.0.0.1:") for port in services[name].get("ports", ()))


def test_a_new_team_is_a_name_and_two_lines_which_the_guide_shows(services: dict[str, Any]) -> None:
    guide = (ROOT / "docs" / "guides" / "new-team.md").read_text()
    (lines,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert len(lines.splitlines()) == 2
    text = (ROOT / "docker-compose.yml").read_text()
    found = yaml.safe_load(text.replace("\n  team-import:", f"\n{lines}\n  team-import:", 1))["services"]
    for new, old in (
        ("wheat-inference-http", "fruit-inference-http"),
        ("flink-dispatcher-wheat", "flink-dispatcher-fruit"),
    ):
        assert found[new]["environment"].pop("TEAM") == "wheat"
        expected = {**services[old], "environment": {**services[old]["environment"]}}
        expected["environment"].pop("TEAM")
        expected.pop("ports", None)
        assert found[new] == expected


def test_the_team_reads_the_store_and_its_import_alone_writes_it(services: dict[str, Any]) -> None:
    service, importer = _mounts(services["fruit-inference-http"]), _mounts(services["team-import"])
    assert service["/home/bentoml/models"][1] == "ro"
    assert service["/home/bentoml/models"][0] == f"{importer['/store'][0]}/models"
    assert importer["/app/weights"][1] == service["/app/adapters"][1] == "ro"
    words = services["team-import"]["entrypoint"]
    assert import_command.make_context("import", words[6:]).params["of_team"] is True
    assert service["/app/entry.sh"] == importer["/app/entry.sh"]
    assert (ROOT / service["/app/entry.sh"][0]).is_file()
