"""What the compose file promises: a read-only store for the service, the whole home for the importer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.import_commands import import_command
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
