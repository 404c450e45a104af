"""Devices: where the graphs of a version are to run, and who says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnxruntime as ort

from hotswap.repository import Artifact
from hotswap.runner import CPU
from manifest.profiles import Profiles, no_profiles
from manifest.version_manifest import CONFIG_FILE, ModelConfig

AUTO = "auto"
CUDA = "cuda"
CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
#: Where profiles are declared, for people.
_PROFILES = "the list of models"


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider of onnxruntime with its options, as onnxruntime takes them.

    `device` is the word by which we name where it runs.
    """

    name: str
    options: Mapping[str, str]
    device: str


@dataclass(frozen=True, slots=True)
class Device:
    """Providers to try, in this order and before the CPU, and `asked_by`: who says so.

    `required` means that a graph is not loaded on the CPU instead.
    """

    providers: tuple[Provider, ...]
    asked_by: str
    required: bool = False

    @property
    def name(self) -> str:
        """The device of the first choice."""
        return self.providers[0].device if self.providers else CPU


ON_CPU = Device((), "the CPU is the only device here")
#: What `auto` means where onnxruntime has no provider for GPUs, as its package for CPUs.
NO_GPU = Device((), "no GPU that this onnxruntime can use: the CPU")


def can_use_gpus() -> bool:
    """Whether this onnxruntime has a provider for GPUs."""
    return CUDA_PROVIDER in ort.get_available_providers()


class DeviceRules:
    """Which device a version is to run on.

    By `okawari devices`, else by the model's profile, else by its config, else by the setting.
    """

    def __init__(
        self,
        setting: str = CPU,
        *,
        gpu: int = 0,
        chosen: Callable[[str], str | None] = lambda _model: None,
        profiles: Profiles = no_profiles,
        available: Callable[[], Sequence[str]] = ort.get_available_providers,
    ) -> None:
        """`gpu` is the number of this worker's GPU, for `auto`; `chosen` the device of a model by hand."""
        self._setting = setting
        self._gpu = gpu
        self._chosen = chosen
        self._profiles = profiles
        self.available = available

    def device_of(self, artifact: Artifact) -> Device:
        """The device that a version is to run on."""
        profile = self._profiles().get(artifact.tag.name)
        chosen = self._chosen(artifact.tag.name)
        device = self._device_of(artifact, chosen, profile.device if profile else None)
        if profile is None or not profile.gpu_required:
            return device
        if not device.providers and chosen is None:
            device = self._named(CUDA, f"{CUDA}, by gpu_required in {_PROFILES}")
        return replace(device, required=True)

    def _device_of(self, artifact: Artifact, chosen: str | None, declared: str | None) -> Device:
        if chosen is not None:
            return self._named(chosen, f"{chosen}, by okawari devices")
        config = artifact.config
        if declared is not None:
            return self._named(declared, f"{declared}, by {_PROFILES}")
        if config.providers:
            return _of_providers(config)
        if config.device is not None:
            return self._named(config.device, f"{config.device}, by {CONFIG_FILE}")
        if self._setting == AUTO and CUDA_PROVIDER not in self.available():
            return NO_GPU
        return self._named(self._setting, f"{self._setting}, by OKAWARI_DEVICE")

    def _named(self, word: str, asked_by: str) -> Device:
        if word == CPU:
            return Device((), asked_by)
        if word == AUTO and CUDA_PROVIDER not in self.available():
            return Device((), f"{asked_by}: {NO_GPU.asked_by}")
        _, _, number = word.partition(":")
        gpu = int(number) if number else self._gpu
        return Device((Provider(CUDA_PROVIDER, {"device_id": str(gpu)}, f"cuda:{gpu}"),), asked_by)


def _of_providers(config: ModelConfig) -> Device:
    providers = tuple(Provider(each.name, each.options, each.name) for each in config.providers)
    names = ", ".join(each.name for each in providers)
    return Device(providers, f"{names}, by {CONFIG_FILE}")
