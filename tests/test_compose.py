"""What the compose file promises: a read-only store for the service, the whole home for the importer."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.database_commands import upgrade_command
from cli.import_commands import import_command
from config_file import load_config
from scripts import clients
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
    for name in [*os.environ]:
        if name.startswith(("OKAWARI_", "MODEMORA_")) or name in ("PORT", "GRPC_PORT", "WORKERS"):
            monkeypatch.delenv(name)
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
#: Profiles → their services; those of `stream` are below.
PROFILES: dict[str, set[str]] = {
    "detect": OURS | OTHERS,
    "lakefs": OTHERS,
    "modemora": {"modemora"},
    "gpu": {"service-gpu"},
    "observe": {"prometheus", "grafana", "jaeger", "loki", "alloy"},
    "edge-proxy": {"edge-proxy"},
    "stream": set(),
}
#: Secrets → the services that may know them.
SECRETS = {
    "POSTGRES_PASSWORD": {"inference-server", "detect-import", "migrations", "postgres", "lakefs"},
    "LAKEFS_ACCESS_KEY": {"inference-server", "detect-import", "migrations", "lakefs", "lakefs-repository"},
    "LAKEFS_SECRET_KEY": {"inference-server", "detect-import", "migrations", "lakefs", "lakefs-repository"},
    "LAKEFS_ENCRYPT_KEY": {"lakefs"},
    "MINIO_ACCESS_KEY": {"minio-hot", "fruit-inference-http", "minio", "lakefs"},
    "MINIO_SECRET_KEY": {"minio-hot", "fruit-inference-http", "minio", "lakefs"},
    "GRAFANA_PASSWORD": {"grafana"},
    "DEVICE_001_TOKEN": {"inference-server", "detect-import", "migrations"},
    "DEVICE_002_TOKEN": {"inference-server", "detect-import", "migrations"},
}


def _document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def test_without_a_profile_nothing_but_the_plain_service_starts(services: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles", []) for name, service in services.items()}
    assert {name for name, each in profiles.items() if each == []} == DEFAULT
    for profile in PROFILES.keys() - {"stream"}:
        assert {name for name, each in profiles.items() if profile in each} == PROFILES[profile], profile
    assert all(set(services[name].get("depends_on", {})) <= {"folders"} for name in DEFAULT)


def test_older_releases_of_compose_read_the_file(services: dict[str, Any]) -> None:
    assert "name" not in _document()
    assert "version" not in _document()
    assert all(isinstance(port, str) for service in services.values() for port in service.get("ports", []))


@pytest.fixture(scope="module")
def compose() -> Path:
    """The older release of compose, which Debian has."""
    try:
        return clients.build("docker-compose") / "bin" / "docker-compose"
    except clients.Unavailable as error:
        pytest.skip(f"docker-compose: {error}")


@pytest.mark.process
@pytest.mark.parametrize("profiles", ["", *PROFILES, ",".join(PROFILES)])
def test_compose_itself_reads_the_file(compose: Path, profiles: str) -> None:
    variables = {"PATH": os.environ["PATH"], "COMPOSE_PROFILES": profiles}
    command = [compose, "--env-file", ".env.example", "config", "-q"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
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
        *("prometheus_data", "grafana_data", "loki_data", "alloy_data"),
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


def test_the_example_of_variables_names_all_that_compose_reads_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text()
    told = set(re.findall(r"^(?:# )?([A-Z]\w+)=", example, re.MULTILINE))
    text = (ROOT / "docker-compose.yml").read_text()
    read = set(re.findall(r"\$\{(\w+):-", text))
    assert told - {"COMPOSE_PROFILES"} == read
    # What is no secret shows its default; a secret has none.
    shown = dict(re.findall(r"^# ([A-Z]\w+)=(.*)$", example, re.MULTILINE))
    assert not shown.keys() & SECRETS.keys()
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    for name, value in shown.items():
        assert defaults.get(name, "") in (value, ""), name


# --- the profiles `modemora`, `gpu`, `observe`, `edge-proxy` ---------------------------------------


NEW = sorted(PROFILES["modemora"] | PROFILES["gpu"] | PROFILES["observe"] | PROFILES["edge-proxy"])


@pytest.mark.parametrize("name", [*NEW, "service", "drop", "inference-server"])
def test_what_lasts_writes_nothing_but_its_mounts_and_is_bounded(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert (service["read_only"], service["init"], service["restart"]) == (True, True, "unless-stopped")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert not service["user"].startswith(("0", "root"))
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert all(_filled(port).startswith("127.0.0.1:") for port in service.get("ports", []))
    named = (
        {source for source, _ in _mounts(service).values() if "/" not in source}
        if "volumes" in service
        else set()
    )
    assert named <= set(_document()["volumes"])


def test_no_two_services_of_a_profile_and_the_default_take_one_port(services: dict[str, Any]) -> None:
    plain = {name for name, service in services.items() if "profiles" not in service}
    # These stand in the place of `service`.
    alone = {"modemora", "gpu"}
    for profile in PROFILES.keys() - alone:
        chosen = {name for name, service in services.items() if profile in service.get("profiles", ())}
        ports = [_filled(port) for name in plain | chosen for port in services[name].get("ports", [])]
        taken = [port.rsplit(":", 1)[0] for port in ports]
        assert len(taken) == len(set(taken)), profile


def test_modemora_is_where_modelmora_was(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    service = services["modemora"]
    assert service["container_name"] == "miraveja-modemora"
    assert [_filled(port) for port in service["ports"]] == ["127.0.0.1:8080:8080", "127.0.0.1:50051:50051"]
    limits = {name: _filled(value) for name, value in service["deploy"]["resources"]["limits"].items()}
    assert limits == {"cpus": "4", "memory": "10G"}
    assert service["deploy"]["resources"]["reservations"].keys() == {"cpus", "memory"}
    assert service["networks"] == ["miraveja"]
    assert _document()["networks"]["miraveja"]["name"] == "miraveja"
    labels = service["labels"]
    assert labels["traefik.http.routers.modemora.rule"] == "PathPrefix(`/modemora`)"
    assert labels["traefik.http.routers.modemora.entrypoints"] == "web,websecure"
    found = _settings(service, monkeypatch)
    assert labels["traefik.http.services.modemora.loadbalancer.server.port"] == str(found.port) == "8080"
    assert (found.root_path, found.grpc_port, found.metrics_port) == ("/modemora", 50051, 9090)
    assert (found.home, found.store_home) == (Path("/state"), Path("/home/bentoml"))
    assert (found.device, found.workers, found.request_timeout) == ("cpu", 1, 30.0)
    assert int(service["stop_grace_period"].removesuffix("s")) > found.request_timeout
    check = service["healthcheck"]
    assert [check[name] for name in ("interval", "timeout", "start_period", "retries")] == [
        "30s",
        "10s",
        "40s",
        3,
    ]


def test_the_service_on_a_gpu_is_the_plain_one_with_a_device(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (device,) = services["service-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    found = _settings(services["service-gpu"], monkeypatch)
    assert found.device == "cuda"
    assert _mounts(services["service-gpu"])["/state"] != _mounts(services["service"])["/state"]


@pytest.mark.process
def test_grafana_without_a_password_does_not_start(services: dict[str, Any]) -> None:
    grafana = services["grafana"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == "${GRAFANA_PASSWORD:-}"
    script = grafana["entrypoint"][2].replace("$$", "$").replace("exec /run.sh", "echo starts")
    for password, status in (("", 1), ("p", 0)):
        variables = {"GF_SECURITY_ADMIN_PASSWORD": password}
        done = subprocess.run(["/bin/sh", "-c", script], env=variables, capture_output=True, check=False)
        assert done.returncode == status
        assert (b"GRAFANA_PASSWORD" in done.stderr) == (status == 1)


def test_prometheus_listens_where_it_is_published_and_reaches_every_service(services: dict[str, Any]) -> None:
    prometheus = services["prometheus"]
    assert prometheus["ports"] == ["127.0.0.1:9091:9091"]
    assert "--web.listen-address=:9091" in prometheus["command"]
    scraped = ("service", "inference-server", "fruit-inference-http", "modemora")
    networks = {network for name in scraped for network in services[name].get("networks", ["default"])}
    assert networks <= set(prometheus["networks"])


def test_logs_are_shipped_from_the_homes_of_all_services(services: dict[str, Any]) -> None:
    config = (ROOT / "deploy" / "alloy" / "config.alloy").read_text()
    globs = re.findall(r'__path__ = "/okawari/([^"]+)"', config)
    data = "${OKAWARI_DATA:-./var/compose}"
    assert _mounts(services["alloy"])["/okawari"] == (data, "ro")
    homes = {
        _mounts(services[name])["/state"][0]
        for name in ("service", "inference-server", "modemora", "service-gpu")
    }
    assert {f"{data}/{each.removesuffix('/logs/*.jsonl')}" for each in globs} == {*homes, f"{data}/teams/*"}
    assert "http://loki:3100/" in config
    loki = yaml.safe_load((ROOT / "deploy" / "loki" / "loki.yml").read_text())
    assert loki["server"]["http_listen_port"] == 3100
    assert loki["common"]["path_prefix"] == "/loki"
    assert "/loki" in _mounts(services["loki"])


def test_the_proxy_leads_to_the_services_by_tls_alone(services: dict[str, Any]) -> None:
    folder = ROOT / "deploy" / "traefik"
    points = yaml.safe_load((folder / "traefik.yml").read_text())["entryPoints"]
    published = {_filled(port).rpartition(":")[2] for port in services["edge-proxy"]["ports"]}
    assert {point["address"] for point in points.values()} == {f":{port}" for port in published}
    assert points["web"]["http"]["redirections"]["entryPoint"]["scheme"] == "https"
    routes = yaml.safe_load((folder / "routes.yml").read_text())
    assert all(router["entryPoints"] == ["websecure"] for router in routes["http"]["routers"].values())
    urls = [
        server["url"]
        for service in routes["http"]["services"].values()
        for server in service["loadBalancer"]["servers"]
    ]
    for url in urls:
        name, port = re.fullmatch(r"\w+://([\w-]+):(\d+)", url).groups()  # type: ignore[union-attr]
        assert port in {each.rpartition(":")[2] for each in services[name]["ports"]}
        assert set(services[name].get("networks", ["default"])) & set(services["edge-proxy"]["networks"])
    (certificate,) = routes["tls"]["certificates"]
    source, mode = _mounts(services["edge-proxy"])["/certs"]
    assert (source, mode) == _mounts(services["service"])["/certs"]
    assert all(path.startswith("/certs/") for path in certificate.values())


def test_the_image_s_health_check_is_of_those_that_serve_alone(services: dict[str, Any]) -> None:
    ours = [name for name, service in services.items() if "OKAWARI" in service["image"]]
    for name in ours:
        serves = "command" in services[name] or "ports" in services[name]
        check = services[name]["healthcheck"]
        assert ("test" in check) if serves else (check == {"disable": True}), name


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
