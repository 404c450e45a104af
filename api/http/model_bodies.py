"""Models and versions as `GET /models` shows them: states, and what they take of the machine."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, Field

from hotswap.errors import ModelNotFound
from hotswap.gate import Result
from hotswap.repository import VersionInfo
from hotswap.status import ModelStatus, StateView
from hotswap.version_status import VersionStatus
from manifest.profiles import ModelProfile
from manifest.tags import ModelTag
from registry.gate_report import GateReport, report
from registry.providers import model_type, provider_of
from registry.verdict_files import VerdictFiles

_MEGA = 1_000_000


class GateSummary(BaseModel):
    """What the gate found about a version: `pass`, `fail` or `inconclusive`, and why if not `pass`."""

    result: Result | None = Field(description="null: it was not judged")
    reason: str | None


class VersionBody(BaseModel):
    """One version; `state` is a lifecycle state, `available` or `unservable`, with its reason."""

    version: str
    digest: str | None
    state: str
    reason: str | None
    size_bytes: int
    created: datetime | None
    device: str | None = Field(default=None, description="where it runs, such as cpu or cuda:0, if loaded")
    device_reason: str | None = Field(default=None, description="why there")
    gate: GateSummary | None = Field(default=None, description="what the gate found; null: it was not judged")


class ResourcesBody(BaseModel):
    """What the version that serves, or that the target means, asks of the machine."""

    memory_mb: float | None = Field(
        description="MB that it keeps in each worker: measured at import, else as declared; null: not known"
    )
    gpu_required: bool
    cpu_threads: int | None = Field(
        description="of one inference, as its config asks; a declared number caps it"
    )


class CanaryBody(BaseModel):
    """A version that answers a share of the requests, 0..1, beside the target."""

    version: str
    share: float


class ModelBody(BaseModel):
    """One model; `revision` is that of the desired state at this model's last change."""

    name: str
    target: str | None
    serving: str | None
    generation: int | None
    revision: int
    reason: str | None
    type: str | None = Field(
        description="embedding, segmentation, detection, classification, or the task's word, such as tensors"
    )
    provider: str | None = Field(description="as declared, else the name of the family's provider")
    resources: ResourcesBody
    loaded: bool = Field(description="whether a version of it is in memory")
    memory_mb: float = Field(description="MB of memory that its loaded versions take, in all workers")
    last_used: datetime | None = Field(description="when it was asked last; null: not since the start")
    evictable: bool = Field(description="whether it may leave memory to make room for another")
    residency_reason: str | None = Field(
        description="why it is not in memory: not used yet, evicted, or refused for want of memory"
    )
    versions: list[VersionBody]
    missing: bool = Field(description="the list of models declares it, and the store lacks it")
    canary: CanaryBody | None = Field(
        default=None, description="what answers a share of the requests; null: the target answers alone"
    )


class ModelsBody(BaseModel):
    """The answer to `GET /models`."""

    default: str | None
    models: list[ModelBody]


class ModelBodies:
    """Builds what is shown of models from the state, their configs, and what an operator declares of them."""

    def __init__(self, view: StateView, verdicts: VerdictFiles) -> None:
        self._view = view
        self._verdicts = verdicts

    def all(self) -> list[ModelBody]:
        """Every model, by name."""
        return [self._body(each) for each in self._view.models()]

    def one(self, name: str) -> ModelBody:
        """One model. Raises `ModelNotFound`."""
        if not self._view.known(name):
            raise ModelNotFound(f"there is no model {name[:64]!r}; GET /models lists them")
        return self._body(self._view.model(name))

    def _body(self, status: ModelStatus) -> ModelBody:
        version = self._view.meant(status.name)
        profile = self._view.profiles().get(status.name) or ModelProfile(status.name)
        residence = self._view.residence(status.name)
        used = residence.last_used
        config = version.config if version is not None else None
        return ModelBody(
            name=status.name,
            target=status.target,
            serving=status.serving,
            generation=status.generation,
            revision=status.revision,
            reason=status.reason,
            type=profile.type or (model_type(config.task) if config is not None else None),
            provider=profile.provider or (provider_of(config.family) if config is not None else None),
            resources=_resources(version, profile),
            loaded=residence.loaded,
            memory_mb=megabytes(residence.memory_bytes),
            last_used=None if used is None else datetime.fromtimestamp(used, UTC),
            evictable=residence.evictable,
            residency_reason=residence.reason,
            versions=[self._version(status.name, each) for each in status.versions],
            missing=status.missing,
            canary=CanaryBody.model_validate(status.canary, from_attributes=True) if status.canary else None,
        )

    def _version(self, name: str, status: VersionStatus) -> VersionBody:
        body = VersionBody.model_validate(status, from_attributes=True)
        found = report_of(self._verdicts, name, status)
        if found.result is not None:
            body.gate = GateSummary(result=found.result, reason=found.reason)
        return body


def report_of(verdicts: VerdictFiles, name: str, status: VersionStatus) -> GateReport:
    """What the gate found about a version that is in this state."""
    tag, digest = ModelTag(name, status.version), status.digest
    if digest is None:
        return report(tag, None, None, state_reason=status.reason)
    record, served = verdicts.known(digest), verdicts.has_served(digest)
    return report(tag, digest, record, served=served, state_reason=status.reason)


def megabytes(size: float) -> float:
    """Bytes as MB, for people."""
    return round(size / _MEGA, 1)


def _resources(version: VersionInfo | None, profile: ModelProfile) -> ResourcesBody:
    """An estimate counts where nothing was measured; a cap on threads holds whatever the config asks."""
    measured = version.measured if version is not None else None
    config = version.config if version is not None else None
    size = (measured.resident_bytes if measured is not None else None) or profile.memory_bytes
    threads = [config.resources.threads] if config is not None else []
    threads += [] if profile.cpu_threads is None else [profile.cpu_threads]
    return ResourcesBody(
        memory_mb=None if size is None else megabytes(size),
        gpu_required=profile.gpu_required,
        cpu_threads=min(threads, default=None),
    )
