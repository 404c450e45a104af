"""`ModelRegistry.yaml`: what an entry means, and where a mistake is told to be."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from common.document_findings import paths
from manifest.profiles import ModelProfile
from manifest.version_manifest import parse_config
from registry.model_list import (
    LONGEST,
    MOST_MODELS,
    BadModelList,
    ListedModel,
    ModelListDocument,
    parse_model_list,
)
from registry.model_list_file import ModelListFile
from registry.providers import Providers
from runners.families.index import FAMILIES
from tests.builders import config_document

TASKS = {name: family.task for name, family in FAMILIES.items()}
PROVIDERS = Providers(TASKS)

WHOLE = """\
models:
  - name: clip
    type: embedding
    provider: ClipProvider
    config:
      threshold: 0.25
      nms_threshold: 0.6
      device: cuda:1
    resources:
      memory_mb: 600.5
      gpu_required: true
      cpu_threads: 2
    warmup: {enabled: true, samples: 7}
    default: true
  - name: sam
    type: segmentation
    provider: samprovider
    config:
    resources: {}
    warmup: {enabled: false, samples: 7}
  - name: plain
"""


def parse(text: str) -> Mapping[str, ModelProfile]:
    return parse_model_list(text, PROVIDERS)


def findings(text: str) -> tuple[str, ...]:
    with pytest.raises(BadModelList) as caught:
        parse(text)
    return caught.value.findings


def test_an_entry_means_what_it_says() -> None:
    profiles = parse(WHOLE)
    assert list(profiles) == ["clip", "sam", "plain"]
    assert profiles["clip"] == ModelProfile(
        name="clip",
        type="embedding",
        provider="ClipProvider",
        memory_bytes=600_500_000,
        gpu_required=True,
        cpu_threads=2,
        warm_up_samples=7,
        warms_up=True,
        preload=True,
        device="cuda:1",
        threshold=0.25,
        nms_threshold=0.6,
        families=("clip", "embedder"),
        tasks=("image-embedding", "tensors", "custom"),
    )
    assert profiles["sam"].families == ("sam",)
    assert profiles["sam"].warm_up_samples == 0
    assert profiles["plain"] == ModelProfile("plain")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("models:\n- name: a\n  typ: x", 3, ["models[0].typ: unknown key", "did you mean type?"]),
        ("models:\n- name: a\nmodel: 1", 3, ["model: unknown key", "did you mean models?"]),
        ("models:\n- name: a\n\n  memory_mb: 5", 4, ["did you mean models.resources.memory_mb?"]),
        ("models:\n- {name: a, type: vector}", 2, ["models[0].type: ", "'embedding'", "found 'vector'"]),
        ("models:\n- type: embedding", 2, ["models[0].name: ", "required"]),
        ("models:\n- name: A b", 2, ["models[0].name: ", "allowed are", "found 'A b'"]),
        ("models:\n- name: 7", 2, ["models[0].name: ", "put it in quotes"]),
        ("models:\n- name: a\n- name: b\n- name: a", 4, ["models[2].name: 'a' is there twice"]),
        ("models:\n- name: a\n  provider: ClpProvider", 3, ["did you mean ClipProvider?", "SAMProvider"]),
        (
            "models:\n- name: a\n  provider: X",
            3,
            ["models[0].provider: unknown provider; known are", "found 'X'"],
        ),
        (
            "models:\n- name: a\n  provider: SAMProvider\n  type: detection",
            4,
            ["models[0].type: SAMProvider is for segmentation, found 'detection'"],
        ),
        (
            "models:\n- name: a\n  config:\n    checkpoint: x.pt",
            4,
            ["models[0].config.checkpoint: unknown key", "threshold"],
        ),
        ("models:\n- name: a\n  config: {threshold: 2}", 3, ["models[0].config.threshold: ", "found 2"]),
        ("models:\n- name: a\n  resources: {memory_mb: -1}", 3, ["models[0].resources.memory_mb: "]),
        ("models:\n- name: a\n  resources: {cpu_threads: 0}", 3, ["models[0].resources.cpu_threads: "]),
        ("models:\n- name: a\n  warmup: {samples: 1000}", 3, ["models[0].warmup.samples: ", "found 1000"]),
        ("models:\n- name: a\n  warmup: soon", 3, ["models[0].warmup: must hold keys"]),
        (
            "models:\n- name: a\n  resources: {gpu_required: true}\n  config: {device: cpu}",
            2,
            ["gpu_required needs a GPU"],
        ),
        ("models:\n- name: a\n  name: b", 3, ["the key name is there twice"]),
        ("models: &x [1]", 1, ["anchors and aliases are refused"]),
        ("models:\n  - name: [", 2, []),
        ("- name: a", 1, ["write `models:`"]),
        ("", 1, ["write `models:`"]),
        ("{}", 1, ["models: Field required"]),
        ("models: a", 1, ["models: must be a valid list", "found 'a'"]),
    ],
)
def test_a_mistake_is_told_with_line_and_field(text: str, line: int, words: list[str]) -> None:
    (finding,) = findings(text)
    assert finding.startswith(f"line {line}: ")
    for word in words:
        assert word in finding


def test_every_mistake_is_told() -> None:
    found = findings("models:\n- {name: a, x: 1}\n- {name: b, y: 1}\n")
    assert [each[:7] for each in found] == ["line 2:", "line 3:"]


@pytest.mark.slow
def test_a_list_is_bounded() -> None:
    assert "at most" in findings("#" * (LONGEST + 1))[0]
    most = "models:\n" + "".join(f"- name: m{number}\n" for number in range(MOST_MODELS + 1))
    assert "models: " in findings(most)[0]
    assert len(findings("models:\n" + "".join(f"- {{name: m{n}, x: 1}}\n" for n in range(50)))) == 20


# --- what it does to a config --------------------------------------------------------------------


def test_what_is_declared_lies_over_the_config() -> None:
    config = parse_config(json.dumps(config_document(resources={"threads": 4}, warm_up={"runs": 3})))
    over = parse(WHOLE)["clip"].laid_over(config)
    assert (over.thresholds.score, over.thresholds.nms_iou) == (0.25, 0.6)
    assert over.thresholds.model_fields_set == {"score", "nms_iou"}
    assert (over.resources.threads, over.warm_up.runs) == (2, 7)
    assert parse(WHOLE)["sam"].laid_over(config).warm_up.runs == 0
    assert parse(WHOLE)["plain"].laid_over(config) is config
    fewer = parse("models: [{name: a, resources: {cpu_threads: 9}}]")["a"].laid_over(config)
    assert fewer.resources.threads == 4, "a cap gives no more than the config asks for"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("provider: ClassifierProvider, type: classification", None),
        ("provider: ViTProvider", None),
        ("type: classification", None),
        ("{}", None),
        ("provider: SAMProvider", "declared with SAMProvider, but its family is classifier, which holds"),
        ("type: detection", "declared as detection, but it does image-classification, which holds"),
    ],
)
def test_a_version_that_is_other_than_declared_is_told(entry: str, words: str | None) -> None:
    config = parse_config(json.dumps(config_document()))
    profile = parse(f"models: [{{name: a, {entry.strip('{}')}}}]")["a"]
    assert profile.misfit(config) == words


# --- providers -----------------------------------------------------------------------------------


def test_every_family_has_a_provider_that_means_it() -> None:
    meant = {family for name in PROVIDERS.names for family in PROVIDERS.named(name).families}
    assert meant == set(FAMILIES)
    assert all(PROVIDERS.named(name).types for name in PROVIDERS.names)
    assert len({name.casefold() for name in PROVIDERS.names}) == len(PROVIDERS.names)


def test_a_family_of_another_package_has_a_provider_by_the_rule() -> None:
    providers = Providers({**TASKS, "heat-spots": "object-detection"})
    assert providers.named("HeatSpotsProvider").families == ("heat-spots",)


# --- the guide -----------------------------------------------------------------------------------

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "modelmora.md").read_text()


def test_the_example_of_the_guide_is_a_list() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert list(parse(example)) == ["clip", "dinov2", "sam"]
    (message,) = findings(example.replace("samples: 3", "sampels: 3"))
    assert message in GUIDE


def test_the_guide_has_every_key_and_every_provider_with_a_name_of_its_own() -> None:
    keys = set(
        re.findall(r"`([a-z_.]+)`", "".join(re.findall(r"^\| (`[a-z_.`, ]+) \|", GUIDE, re.MULTILINE)))
    )
    assert {key for key in keys if "." in key or key in ListedModel.model_fields} == {
        path.removeprefix("models.") for path in paths(ModelListDocument)
    }
    own = {name for name in PROVIDERS.names if name != _by_rule(PROVIDERS.named(name).families[0])}
    assert {name for name in own if f"`{name}`" not in GUIDE} == set()


def _by_rule(family: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in family.split("-")) + "Provider"


# --- the file ------------------------------------------------------------------------------------


def _write(path: Path, text: str, tick: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(tick, tick))


def test_a_changed_file_is_read_again_and_a_broken_one_leaves_the_last_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ModelRegistry.yaml"
    _write(path, "models: [{name: a}]", 1)
    file = ModelListFile(path, PROVIDERS)
    file.read()
    assert list(file()) == ["a"]
    file.refresh()
    _write(path, "models: [{name: b}]", 2)
    assert list(file()) == ["a"]
    file.refresh()
    assert list(file()) == ["b"]
    _write(path, "models:\n- {name: c, typ: x}", 3)
    for _ in range(3):
        file.refresh()
    assert list(file()) == ["b"]
    assert file.problem is not None
    assert file.problem.startswith("ModelRegistry.yaml: line 2: models[0].typ: unknown key")
    assert file.problem.endswith("its last good content holds")
    path.unlink()
    for _ in range(3):
        file.refresh()
    assert "cannot be read: No such file" in file.problem
    assert list(file()) == ["b"]
    _write(path, "models: [{name: d}]", 3)
    file.refresh()
    assert (list(file()), file.problem) == (["d"], None)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 2, "each trouble is told once"


def test_without_a_path_nothing_is_declared() -> None:
    file = ModelListFile(None, PROVIDERS)
    file.read()
    file.refresh()
    assert (file(), file.problem) == ({}, None)


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.write_bytes(b"\xff"), lambda path: None]
)
def test_what_is_no_text_file_is_told_and_never_waited_for(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "ModelRegistry.yaml"
    make(path)
    with pytest.raises(BadModelList, match=r"^ModelRegistry\.yaml: "):
        ModelListFile(path, PROVIDERS).read()
