"""The catalogue: models that are downloaded by name and checked by the sha256 of their weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, HttpUrl

from hotswap.manifest import CONFIG_FILE, FileEntry, ModelConfig, digest_of, parse_config
from hotswap.tags import ModelTag, as_version, natural_key
from models_import.errors import ImportRefused
from models_import.fingerprints import sha256_of
from models_import.layout import WEIGHTS_FILE
from models_import.progress import SILENT, ImportProgress

if TYPE_CHECKING:
    import httpx

CATALOGUE = Path(__file__).parent / "catalogue"

Client = Callable[[], "httpx.Client"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quality(_Part):
    """A quality measured with this service."""

    measure: str = Field(description="AP50: average precision at an overlap of 0.5")
    value: float = Field(ge=0, le=1)
    how: str = Field(min_length=1, description="the classes and pictures of the measurement")

    def __str__(self) -> str:
        return f"{self.measure} {self.value:.3f}"


class CatalogueEntry(_Part):
    """One model version of the catalogue."""

    name: str
    version: str
    description: str
    url: HttpUrl
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)
    licence: str
    source: HttpUrl
    created: AwareDatetime
    config: str
    quality: Quality

    @property
    def tag(self) -> ModelTag:
        """The entry's tag in the store."""
        return ModelTag(self.name, self.version)


class _Index(BaseModel):
    format: int
    about: str
    models: list[CatalogueEntry]


def entries(catalogue: Path = CATALOGUE) -> list[CatalogueEntry]:
    """Every model of the catalogue."""
    return _Index.model_validate_json((catalogue / "index.json").read_bytes()).models


def choose(models: list[CatalogueEntry], name: str, version: str | None) -> CatalogueEntry:
    """The entry of that name and version, default latest. Raises `ImportRefused` listing the entries."""
    named = sorted((item for item in models if item.name == name), key=lambda item: natural_key(item.version))
    if not named:
        known = ", ".join(sorted({item.name for item in models}))
        raise ImportRefused(f"the catalogue has no {name!r}; it has {known}")
    if version is None:
        return named[-1]
    versions = {item.version: item for item in named}
    exact = as_version(version, versions)
    if exact not in versions:
        raise ImportRefused(f"the catalogue has no version {exact} of {name}; it has {', '.join(versions)}")
    return versions[exact]


def config_of(entry: CatalogueEntry, catalogue: Path = CATALOGUE) -> ModelConfig:
    """The entry's config, not yet checked by its family. Raises `BadManifest`."""
    return parse_config(small_files(entry, catalogue)[CONFIG_FILE])


def small_files(entry: CatalogueEntry, catalogue: Path = CATALOGUE) -> Mapping[str, bytes]:
    """All files of the version except its weights; always the same bytes."""
    config = json.loads((catalogue / entry.config).read_bytes())
    config["created"] = entry.created.isoformat()
    return {
        CONFIG_FILE: json.dumps(config, indent=1).encode() + b"\n",
        "README.md": _readme(entry).encode(),
    }


def _readme(entry: CatalogueEntry) -> str:
    return (
        f"# {entry.tag}\n\n{entry.description}.\n\n"
        f"- Licence: {entry.licence}\n- Source: {entry.source}\n- Weights: {entry.url}\n"
        f"- Quality, as measured: {entry.quality}, {entry.quality.how}\n"
    )


def digest_before_fetching(entry: CatalogueEntry, catalogue: Path = CATALOGUE) -> str:
    """The digest that the version will have in the store."""
    files = {WEIGHTS_FILE: FileEntry(sha256=entry.sha256, size=entry.size)}
    for name, data in small_files(entry, catalogue).items():
        files[name] = FileEntry(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    return digest_of(files)


def _over_the_network() -> httpx.Client:
    import httpx

    return httpx.Client(timeout=httpx.Timeout(30.0, connect=10.0), follow_redirects=True)


def assemble(
    entry: CatalogueEntry,
    folder: Path,
    *,
    mirror: Path | None = None,
    report: ImportProgress = SILENT,
    client: Client = _over_the_network,
    catalogue: Path = CATALOGUE,
) -> Path:
    """Create the version's folder below `folder`, with weights from `mirror` or else from the network."""
    home = folder / entry.name / entry.version
    home.mkdir(parents=True)
    weights = home / WEIGHTS_FILE
    if mirror is None:
        _download(entry, weights, report, client)
    else:
        shutil.copyfile(_in_mirror(entry, mirror), weights)
    for name, data in small_files(entry, catalogue).items():
        (home / name).write_bytes(data)
    return home


def _in_mirror(entry: CatalogueEntry, mirror: Path) -> Path:
    """The weights below `mirror`, under any name."""
    for path in sorted(mirror.rglob("*")):
        if path.is_file() and path.stat().st_size == entry.size and sha256_of(path) == entry.sha256:
            return path
    raise ImportRefused(f"{mirror} has no file with the sha256 {entry.sha256} of {entry.tag}")


def _download(entry: CatalogueEntry, target: Path, report: ImportProgress, client: Client) -> None:
    import httpx

    report.step("download")
    digest, size = hashlib.sha256(), 0
    try:
        with client() as http, http.stream("GET", str(entry.url)) as answer, target.open("wb") as file:
            answer.raise_for_status()
            for block in answer.iter_bytes(1 << 16):
                size += len(block)
                _check_size(entry, size)
                digest.update(block)
                file.write(block)
                report.progress(size, entry.size)
    except httpx.HTTPStatusError as error:
        answer = error.response
        raise _unfetched(entry, f"the server answered {answer.status_code} {answer.reason_phrase}") from None
    except httpx.HTTPError as error:
        raise _unfetched(entry, str(error) or type(error).__name__) from None
    if digest.hexdigest() != entry.sha256:
        raise _unfetched(entry, f"received {size} bytes with another sha256 than the catalogue's")


def _check_size(entry: CatalogueEntry, size: int) -> None:
    # The server may send without end.
    if size > entry.size:
        raise _unfetched(entry, f"received more than the catalogue's {entry.size} bytes")


def _unfetched(entry: CatalogueEntry, reason: str) -> ImportRefused:
    return ImportRefused(
        f"{entry.url}: {reason}; to use a local copy run `okawari get {entry.name} --mirror DIR`"
    )
