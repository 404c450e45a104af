"""What the manifests of deploy/kubernetes promise: ports, probes, time to end, rights, real settings."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.import_commands import import_command
from scripts import clients
from settings import Settings, unknown
from telemetry.routes import _HEALTH

FOLDER = Path(__file__).parent.parent / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
#: Older and newer releases of Kubernetes that the manifests are for.
RELEASES = ("1.29", "1.36")


def _objects() -> dict[tuple[str, str], dict[str, Any]]:
    found = (
        each
        for name in KUSTOMIZATION["resources"]
        for each in yaml.safe_load_all((FOLDER / name).read_text())
    )
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


OBJECTS = _objects()
SERVICE = OBJECTS["Deployment", "okawari"]["spec"]
POD = SERVICE["template"]["spec"]
(CONTAINER,) = POD["containers"]
DEPLOYMENTS = [name for kind, name in OBJECTS if kind == "Deployment"]


def _pod(name: str) -> dict[str, Any]:
    return dict(OBJECTS["Deployment", name]["spec"]["template"]["spec"])


def _containers(name: str) -> list[dict[str, Any]]:
    return [*_pod(name).get("initContainers", []), *_pod(name)["containers"]]


def test_every_manifest_is_applied_or_said_to_be_apart() -> None:
    apart = {"kustomization.yaml", "stream-autoscaling.yaml", "prometheus-adapter-values.yaml"}
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], *apart}


@pytest.mark.process
@pytest.mark.parametrize("release", RELEASES)
def test_the_manifests_are_what_kubernetes_accepts(release: str) -> None:
    try:
        program = clients.build("kubernetes") / "bin" / "kubernetes-validate"
    except clients.Unavailable as error:
        pytest.skip(f"kubernetes-validate: {error}")
    files = [str(FOLDER / name) for name in KUSTOMIZATION["resources"]]
    command = [program, "--strict", "-k", release, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed") + done.stderr.count("passed") == len(OBJECTS)


def test_the_service_leads_to_the_ports_on_which_it_listens() -> None:
    listening = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    variables = {each["name"]: each["value"] for each in CONTAINER["env"]}
    assert listening == {"http": int(CONTAINER["args"][-1]), "grpc": int(variables["GRPC_PORT"])}
    ports = OBJECTS["Service", "okawari"]["spec"]["ports"]
    assert {port["targetPort"] for port in ports} == listening.keys()
    annotations = SERVICE["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == CONTAINER["args"][-1]
    assert annotations["prometheus.io/path"] in _HEALTH


def test_probes_ask_what_the_service_answers() -> None:
    asked = {name: probe["httpGet"]["path"] for name, probe in CONTAINER.items() if name.endswith("Probe")}
    assert asked == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert set(asked.values()) <= set(_HEALTH)
    start = CONTAINER["startupProbe"]
    settings = Settings.model_fields
    assert start["periodSeconds"] * start["failureThreshold"] > 2 * settings["start_timeout"].default


def test_a_rollout_loses_no_request() -> None:
    rolling = SERVICE["strategy"]["rollingUpdate"]
    assert (rolling["maxUnavailable"], rolling["maxSurge"]) == (0, 1)
    (pause,) = CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1:]
    variables = {each["name"]: each["value"] for each in CONTAINER["env"]}
    longest = float(variables["OKAWARI_REQUEST_TIMEOUT"])
    assert longest == Settings.model_fields["request_timeout"].default
    # What is under way when the pod is told to end still has all of its time.
    assert POD["terminationGracePeriodSeconds"] >= int(pause) + longest + 10
    assert SERVICE["replicas"] >= 2
    assert OBJECTS["PodDisruptionBudget", "okawari"]["spec"]["maxUnavailable"] == 1


def test_selectors_meet_the_pods() -> None:
    labels = SERVICE["template"]["metadata"]["labels"]
    assert SERVICE["selector"]["matchLabels"] == labels
    assert OBJECTS["Service", "okawari"]["spec"]["selector"] == labels
    assert OBJECTS["PodDisruptionBudget", "okawari"]["spec"]["selector"]["matchLabels"] == labels
    importer = OBJECTS["Deployment", "okawari-importer"]["spec"]
    assert importer["template"]["metadata"]["labels"] == importer["selector"]["matchLabels"] != labels


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pods_have_few_rights_and_bounds(name: str) -> None:
    pod = _pod(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1034
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in _containers(name):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}
        assert container["image"] in {f"{each['name']}:latest" for each in KUSTOMIZATION["images"]}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_variable_is_a_setting(name: str) -> None:
    # Those that Kubernetes makes of a Service's name would begin with our prefix.
    assert _pod(name)["enableServiceLinks"] is False
    names = {each["name"] for container in _containers(name) for each in container.get("env", [])}
    assert unknown(names) == []
    plain = {field.upper() for field, each in Settings.model_fields.items() if each.validation_alias}
    assert {each for each in names if not each.startswith("OKAWARI_")} <= plain


def test_homes_are_folders_that_can_be_written_and_the_store_is_not() -> None:
    mounts = {each["mountPath"]: each for each in CONTAINER["volumeMounts"]}
    variables = {each["name"]: each["value"] for each in CONTAINER["env"]}
    assert mounts[f"{variables['BENTOML_HOME']}/models"]["readOnly"] is True
    assert "readOnly" not in mounts[variables["OKAWARI_HOME"]]
    assert "/tmp" in mounts
    (importer,) = _pod("okawari-importer")["containers"]
    written = {each["name"]: each["value"] for each in importer["env"]}
    # Staging and models on one mount.
    assert written["BENTOML_HOME"] in {each["mountPath"] for each in importer["volumeMounts"]}
    words = importer["command"][importer["command"].index("import") + 1 :]
    assert import_command.make_context("import", words).params["drop"] == Path("/models")


def test_replicas_follow_figures_that_prometheus_adapter_makes_of_a_metric_that_exists() -> None:
    asked = {
        each["pods"]["metric"]["name"]
        for each in OBJECTS["HorizontalPodAutoscaler", "okawari"]["spec"]["metrics"]
    }
    rules = yaml.safe_load((FOLDER / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    assert {rule["name"]["as"] for rule in rules} == asked
    chapter = (FOLDER.parents[1] / "docs" / "08-crosscutting-concepts.md").read_text()
    (row,) = re.findall(r"^\| `inference_stage_seconds_total`.*$", chapter, re.MULTILINE)
    for rule in rules:
        assert rule["metricsQuery"].startswith("sum(rate(inference_stage_seconds_total{")
        (stage,) = set(re.findall(r'stage="(\w+)"', rule["seriesQuery"] + rule["metricsQuery"]))
        assert f"`{stage}`" in row
