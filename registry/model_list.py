"""The list of models, `ModelRegistry.yaml`: what it may say, and the profiles that it means. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from common import strict_yaml
from common.document_findings import Place, finding, path_text
from common.text import shown
from manifest.config_part import Unit
from manifest.profiles import ModelProfile
from manifest.tags import check_word
from manifest.version_manifest import DeviceName
from registry.providers import ModelType, Providers, tasks_of

#: Characters of a list, its models, and the findings that are told of it.
LONGEST = 500_000
MOST_MODELS = 1000
_FINDINGS = 20
_MEGA = 1_000_000
_CPU = "cpu"

_Megabytes = Annotated[float, Field(gt=0, le=10_000_000, allow_inf_nan=False)]


class BadModelList(ValueError):
    """The list cannot be used; `findings` has a line for each reason, with line and field."""

    def __init__(self, findings: Sequence[str]) -> None:
        super().__init__("; ".join(findings))
        self.findings = tuple(findings)


class _Part(BaseModel):
    """A mapping of the list: unknown keys are refused, a key without a value has its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_empty_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


class EntryOptions(_Part):
    """What holds in place of the version's `config.json`."""

    threshold: Unit | None = Field(default=None, description="the least score, as thresholds.score")
    nms_threshold: Unit | None = Field(default=None, description="as thresholds.nms_iou")
    device: DeviceName | None = Field(default=None, description="auto, cpu, cuda or cuda:n")


class EntryResources(_Part):
    """What the model needs of the machine."""

    memory_mb: _Megabytes | None = Field(
        default=None, description="megabytes of memory; counts where the import measured nothing"
    )
    gpu_required: bool = Field(default=False, description="the model is not loaded where no GPU runs it")
    cpu_threads: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None, description="the most onnxruntime threads"
    )


class EntryWarmUp(_Part):
    """The runs before a version may answer; left out: as the version's `config.json` says."""

    enabled: bool | None = Field(default=None, description="true: also where OKAWARI_WARM_UP is false")
    samples: Annotated[int, Field(ge=0, le=100)] | None = None


class ListedModel(_Part):
    """One model of the list."""

    name: Annotated[str, BeforeValidator(lambda value: value if not isinstance(value, str) else _word(value))]
    type: ModelType | None = None
    provider: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="the family, such as ClipProvider, DINOv2Provider or SAMProvider"
    )
    config: EntryOptions = EntryOptions()
    resources: EntryResources = EntryResources()
    warmup: EntryWarmUp = EntryWarmUp()
    default: bool = Field(
        default=False, description="load at the start; not the model of requests that name none"
    )

    @model_validator(mode="after")
    def _one_device(self) -> ListedModel:
        if self.resources.gpu_required and self.config.device == _CPU:
            raise ValueError("resources.gpu_required needs a GPU, but config.device is cpu")
        return self


class ModelListDocument(_Part):
    """The whole file."""

    models: Annotated[list[ListedModel], Field(max_length=MOST_MODELS)]


def _word(text: str) -> str:
    return check_word("model name", text)


def parse_model_list(text: str, providers: Providers | None) -> Mapping[str, ModelProfile]:
    """The profiles of a list, by model; without `providers` those are not checked.

    Raises `BadModelList`, naming line and field.
    """
    try:
        if len(text) > LONGEST:
            raise BadModelList([f"has {len(text)} characters, at most {LONGEST} are read"])
        document = strict_yaml.load(text)
        if not isinstance(document, dict):
            raise BadModelList(["line 1: holds no list: write `models:` and each model below"])
        models = ModelListDocument.model_validate(document).models
    except strict_yaml.BadYaml as error:
        raise BadModelList([str(error)]) from None
    except ValidationError as error:
        items = error.errors(include_url=False)[:_FINDINGS]
        raise _bad(
            text, [(item["loc"], finding(item, document, ModelListDocument)) for item in items]
        ) from None
    if wrong := list(_misfits(models, providers)):
        raise _bad(text, wrong[:_FINDINGS])
    return {model.name: _profile(model, providers) for model in models}


def _bad(text: str, findings: Sequence[tuple[Place, str]]) -> BadModelList:
    return BadModelList([f"line {strict_yaml.line_of(text, place)}: {what}" for place, what in findings])


def _misfits(models: Sequence[ListedModel], providers: Providers | None) -> Iterator[tuple[Place, str]]:
    """What is wrong with models that are well formed, each with its place."""
    seen: set[str] = set()
    for number, model in enumerate(models):
        at: Place = ("models", number)
        if model.name in seen:
            yield (*at, "name"), f"{path_text((*at, 'name'))}: {shown(model.name)} is there twice"
        seen.add(model.name)
        if providers is not None and (problem := _provider_problem(model, providers)):
            place = (*at, problem[0])
            yield place, f"{path_text(place)}: {problem[1]}"


def _provider_problem(model: ListedModel, providers: Providers) -> tuple[str, str] | None:
    """The field that is wrong, and why."""
    if model.provider is None:
        return None
    try:
        provider = providers.named(model.provider)
    except ValueError as error:
        return "provider", f"{error}; found {shown(model.provider)}"
    if model.type is None or model.type in provider.types:
        return None
    return "type", f"{provider.name} is for {' or '.join(provider.types)}, found {shown(model.type)}"


def _profile(model: ListedModel, providers: Providers | None) -> ModelProfile:
    memory, warm_up = model.resources.memory_mb, model.warmup
    return ModelProfile(
        name=model.name,
        type=model.type,
        provider=model.provider,
        memory_bytes=None if memory is None else int(memory * _MEGA),
        gpu_required=model.resources.gpu_required,
        cpu_threads=model.resources.cpu_threads,
        warm_up_samples=0 if warm_up.enabled is False else warm_up.samples,
        warms_up=bool(warm_up.enabled),
        preload=model.default,
        device=model.config.device,
        threshold=model.config.threshold,
        nms_threshold=model.config.nms_threshold,
        families=providers.named(model.provider).families if providers and model.provider else (),
        tasks=tasks_of(model.type),
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the list."""
    schema = ModelListDocument.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "ModelRegistry.yaml"
    return schema
