"""The manifest that scales a team by the lag of its topic, held against the command and the compose file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.dispatch_command import dispatch_command

ROOT = Path(__file__).parent.parent
MANIFEST = ROOT / "deploy" / "kubernetes" / "stream-autoscaling.yaml"


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """What the manifest makes, by kind and name."""
    found = list(yaml.safe_load_all(MANIFEST.read_text()))
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def test_the_dispatcher_reads_what_it_is_given(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    (container,) = objects["Deployment", "fruit-dispatch"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "cli", "dispatch"]
    given = {each["name"]: each["value"] for each in container["env"]}
    read = {each.envvar: each for each in dispatch_command.params if isinstance(each, click.Option)}
    assert set(given) <= set(read)
    for name, value in given.items():
        read[name].type.convert(value, read[name], None)


def test_replicas_follow_the_lag_of_the_group_that_the_dispatcher_is(
    objects: dict[tuple[str, str], dict[str, Any]],
) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    partitions = int(compose["stream-topics"]["environment"]["PARTITIONS"])
    for name in ("fruit-dispatch", "fruit-inference-http"):
        spec = objects["ScaledObject", name]["spec"]
        assert spec["scaleTargetRef"] == {"name": name}
        (trigger,) = spec["triggers"]
        assert (trigger["type"], trigger["metadata"]["topic"]) == ("kafka", "imagery.new.fruit")
        assert trigger["metadata"]["consumerGroup"] == "http-dispatcher-fruit"
    assert objects["ScaledObject", "fruit-dispatch"]["spec"]["maxReplicaCount"] <= partitions
