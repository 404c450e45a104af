"""The catalogue: models that are downloaded by name and checked by the sha256 of their files."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, HttpUrl

from manifest.tags import ModelTag, as_version, natural_key
from manifest.version_manifest import (
    CONFIG_FILE,
    FileEntry,
    ModelConfig,
    VersionPath,
    digest_of,
    parse_config,
)
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


class Download(_Part):
    """A file at an address, known by its content."""

    url: HttpUrl
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)


#: The quality of an entry whose weights were at no hand.
NOT_TRIED = "not tried"


class CatalogueEntry(Download):
    """One model version of the catalogue; its own address is that of the weights.

    `files` are others that its config names, by their paths in the version. `quality` is None where nobody
    has tried the config with the original weights.
    """

    name: str
    version: str
    description: str
    licence: str
    source: HttpUrl
    created: AwareDatetime
    config: str
    files: dict[VersionPath, Download] = Field(default={}, max_length=20)
    quality: Quality | None = None

    @property
    def tag(self) -> ModelTag:
        """The entry's tag in the store."""
        return ModelTag(self.name, self.version)

    @property
    def downloads(self) -> Mapping[str, Download]:
        """Every file that is fetched, by its path in the version."""
        return {WEIGHTS_FILE: self, **self.files}

    @property
    def measured(self) -> str:
        """The quality in words."""
        return NOT_TRIED if self.quality is None else str(self.quality)

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(each.size for each in self.downloads.values())


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
    quality = entry.quality
    how = f"as measured: {quality}, {quality.how}" if quality else "not tried with the original weights"
    more = "".join(f"- {path}: {file.url}\n" for path, file in entry.files.items())
    return (
        f"# {entry.tag}\n\n{entry.description}.\n\n"
        f"- Licence: {entry.licence}\n- Source: {entry.source}\n- Weights: {entry.url}\n{more}"
        f"- Quality, {how}\n"
    )


def digest_before_fetching(entry: CatalogueEntry, catalogue: Path = CATALOGUE) -> str:
    """The digest that the version will have in the store."""
    files = {path: FileEntry(sha256=each.sha256, size=each.size) for path, each in entry.downloads.items()}
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
    """Create the version's folder below `folder`, with files from `mirror` or else from the network."""
    home = folder / entry.name / entry.version
    home.mkdir(parents=True)
    for path, file in entry.downloads.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        if mirror is None:
            _download(entry, file, home / path, report, client)
        else:
            shutil.copyfile(_in_mirror(entry, file, mirror), home / path)
    for name, data in small_files(entry, catalogue).items():
        (home / name).write_bytes(data)
    return home


def _in_mirror(entry: CatalogueEntry, wanted: Download, mirror: Path) -> Path:
    """A file below `mirror`, under any name."""
    for path in sorted(mirror.rglob("*")):
        if path.is_file() and path.stat().st_size == wanted.size and sha256_of(path) == wanted.sha256:
            return path
    raise ImportRefused(f"{mirror} has no file with the sha256 {wanted.sha256} of {entry.tag}")


def _download(
    entry: CatalogueEntry, wanted: Download, target: Path, report: ImportProgress, client: Client
) -> None:
    import httpx

    report.step("download")
    digest, size = hashlib.sha256(), 0
    try:
        with client() as http, http.stream("GET", str(wanted.url)) as answer, target.open("wb") as file:
            answer.raise_for_status()
            for block in answer.iter_bytes(1 << 16):
                size += len(block)
                _check_size(entry, wanted, size)
                digest.update(block)
                file.write(block)
                report.progress(size, wanted.size)
    except httpx.HTTPStatusError as error:
        answer = error.response
        raise _unfetched(
            entry, wanted, f"the server answered {answer.status_code} {answer.reason_phrase}"
        ) from None
    except httpx.HTTPError as error:
        raise _unfetched(entry, wanted, str(error) or type(error).__name__) from None
    if digest.hexdigest() != wanted.sha256:
        raise _unfetched(entry, wanted, f"received {size} bytes with another sha256 than the catalogue's")


def _check_size(entry: CatalogueEntry, wanted: Download, size: int) -> None:
    # The server may send without end.
    if size > wanted.size:
        raise _unfetched(entry, wanted, f"received more than the catalogue's {wanted.size} bytes")


def _unfetched(entry: CatalogueEntry, wanted: Download, reason: str) -> ImportRefused:
    return ImportRefused(
        f"{wanted.url}: {reason}; to use a local copy run `okawari get {entry.name} --mirror DIR`"
    )
