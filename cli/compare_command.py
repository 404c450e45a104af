"""`compare`: two versions side by side on pictures, as a page; `golden marks`: what was marked on it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import click

from cli.arguments import one_version, stored_model
from cli.errors import Refused
from cli.image_files import SkippedFiles, pictures
from cli.output import note, say, say_json, settings
from cli.progress import counted
from common.files import write_atomically
from hotswap.errors import BadRequest
from hotswap.repository import Artifact
from models_import.store import ModelStore
from registry.comparison_pages import ComparisonPages
from registry.golden_files import GoldenFiles

if TYPE_CHECKING:
    from evaluation.answers import AnswerFile, PairedAnswer, PairedRunners, SharedPicture
    from evaluation.comparison import ComparedVersion, VersionComparison
    from evaluation.page import Thumbnail
    from hotswap.predictions import Options
    from hotswap.runner import Runner
    from settings import Settings

#: What is kept of a picture, or the picture and the stamp of its file.
_Looked = Union["PairedAnswer", tuple["SharedPicture", str]]

PAGE, DOCUMENT, ANSWERS = "index.html", "comparison.json", "answers.jsonl"
#: Least score of what is asked for where a truth is given; AP needs the weak findings, too.
_LEAST_SCORE = 0.01
_MOST_PICTURES, _MOST_BYTES = 50_000, 200_000_000
_LONGEST_SIDE, _QUALITY = 480, 60
#: Pictures that both versions are asked about before the first that counts.
_WARM = 2
#: Pictures that are read while both versions answer one.
_AHEAD = 2


@click.command("compare")
@click.argument("a", metavar="NAME:A")
@click.argument("b", metavar="NAME:B")
@click.option(
    "--images",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder with the pictures.",
)
@click.option(
    "--ground-truth",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="COCO instances file: what is in the pictures.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    metavar="DIR",
    help="Folder of the report; a run that ended early goes on there.",
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Least score reported. Default: each version's own."
)
@click.option("--publish", is_flag=True, help="Have the service show the page, with a button to promote B.")
@click.option("--text-prompt", help="What to look for, where the models take a text.")
@click.option("--json", "as_json", is_flag=True, help="JSON output: the same as comparison.json.")
def compare_command(
    a: str,
    b: str,
    *,
    images: Path,
    ground_truth: Path | None,
    out: Path,
    threshold: float | None,
    publish: bool,
    text_prompt: str | None,
    as_json: bool,
) -> None:
    """Run two versions side by side on pictures, and write what changes from A to B.

    Writes DIR/index.html, a page that needs no network: the verdict, the changed pictures with the boxes of
    both, figures for each label, slices, latency and memory. DIR/comparison.json has the same. Two models of
    one task can be compared, too. The service need not run, and is not asked.

    \b
    Examples:
      okawari compare detector:v6 detector:v7 --images pictures/
      okawari compare detector:v6 detector:v7 --images val/ --ground-truth instances.json --out report/
      okawari compare detector:v6 detector:v7 --images val/ --publish
      okawari promote detector v7 --require "ap50>=current" --report report/
    """
    from evaluation.answers import AnswerFile, PairedRunners
    from evaluation.coco_truth import read_coco
    from evaluation.comparison import compare_answers

    configured = settings()
    artifacts = _artifact(configured, a), _artifact(configured, b)
    task = _task(artifacts)
    truth = read_coco(ground_truth) if ground_truth else None
    files = _files(images)
    options = _options(artifacts, threshold, text_prompt, with_truth=truth is not None)
    with _opened(configured, artifacts, threshold) as (runners, versions):
        kept = AnswerFile(out / ANSWERS, _header(versions, options, images))
        both = PairedRunners(*runners, options)
        answers, unreadable = _answers(kept, both, files, images, configured.max_pixels)
    comparison = compare_answers(
        task, versions, answers, truth, created=datetime.now(UTC), unreadable=unreadable
    )
    _write(comparison, images, out, configured.max_pixels)
    if publish:
        candidate = artifacts[1]
        ComparisonPages(configured.home).write(candidate.tag, candidate.digest, (out / PAGE).read_bytes())
    _say(comparison, out, as_json=as_json)
    if publish:
        tag = artifacts[1].tag
        note(f"the service shows it at /models/{tag.name}/versions/{tag.version}/comparison")


def _artifact(configured: Settings, text: str) -> Artifact:
    store = ModelStore(configured.models)
    name, colon, version = text.partition(":")
    if not colon:
        raise click.UsageError(f"{text!r}: write NAME:VERSION, such as detector:v7")
    settled = store.settle(one_version(store, name, version))
    if not isinstance(settled, Artifact):
        raise Refused(f"{text}: {settled.reason}")
    return settled


def _task(artifacts: tuple[Artifact, Artifact]) -> str:
    from evaluation.comparison import TASKS

    first, second = artifacts
    if first.config.task != second.config.task:
        raise Refused(
            f"{first.tag} does {first.config.task}, {second.tag} does {second.config.task}: "
            "only versions of one task can be compared"
        )
    if first.config.task not in TASKS:
        raise Refused(f"{first.config.task} has no measures; allowed are {', '.join(TASKS)}")
    return first.config.task


def _files(images: Path) -> list[Path]:
    skipped = SkippedFiles()
    files = pictures([images], skipped)
    if skipped.count:
        note(f"skipped {skipped.count} files: {skipped.summary()}")
    if not files:
        raise Refused(f"there are no pictures in {images}")
    if len(files) > _MOST_PICTURES:
        raise Refused(f"{images} has {len(files)} pictures; at most {_MOST_PICTURES} can be compared")
    return files


def _options(
    artifacts: tuple[Artifact, Artifact],
    threshold: float | None,
    text_prompt: str | None,
    *,
    with_truth: bool,
) -> Options:
    """What both are asked: findings far below the thresholds, too, and as many as COCO counts."""
    from evaluation.coco_metrics import MOST_DETECTIONS
    from hotswap.predictions import Options

    reported = [_threshold(each, threshold) for each in artifacts]
    least = _LEAST_SCORE if with_truth else min(reported) / 2
    return Options(
        threshold=min(least, *reported), max_detections=MOST_DETECTIONS, text_prompt=text_prompt or None
    )


def _threshold(artifact: Artifact, asked: float | None) -> float:
    from hotswap.predictions import Options
    from runners.families.index import family_of
    from runners.label_file import with_labels

    if asked is not None:
        return asked
    return float(family_of(with_labels(artifact.config, artifact.path)).threshold(Options()))


# --- both versions ---------------------------------------------------------------------------------


@contextmanager
def _opened(
    configured: Settings, artifacts: tuple[Artifact, Artifact], threshold: float | None
) -> Iterator[tuple[tuple[Runner, Runner], tuple[ComparedVersion, ComparedVersion]]]:
    """Both versions, loaded one after the other, each with the memory that it took."""
    from common.process_memory import ProcessMemory
    from evaluation.comparison import ComparedVersion
    from runners.label_file import with_labels
    from runners.loader import OnnxLoader

    loader = OnnxLoader(max_pixels=configured.max_pixels, thread_cap=configured.model_threads)
    runners: list[Runner] = []
    versions: list[ComparedVersion] = []
    try:
        for artifact in artifacts:
            before = ProcessMemory.now()
            runners.append(loader.load(artifact))
            runners[-1].warm()
            measured = artifact.measured.resident_bytes if artifact.measured else 0
            versions.append(
                ComparedVersion(
                    artifact.tag.name,
                    artifact.tag.version,
                    artifact.digest,
                    _threshold(artifact, threshold),
                    frozenset(with_labels(artifact.config, artifact.path).labels),
                    measured or ProcessMemory.now().grown_since(before).resident,
                )
            )
        yield (runners[0], runners[1]), (versions[0], versions[1])
    finally:
        for runner in runners:
            runner.close()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A picture that is to be answered: its path, and its path below the folder."""

    path: Path
    name: str


def _answers(
    kept: AnswerFile, both: PairedRunners, files: Sequence[Path], images: Path, max_pixels: int
) -> tuple[list[PairedAnswer], int]:
    """Both answers to all pictures that can be read, and how many cannot be; earlier answers are kept."""
    if kept.is_begun:
        note(f"going on with the answers in {kept.path}")
    asked = [_Asked(path, path.relative_to(images).as_posix()) for path in files]
    try:
        with counted("comparing", len(asked)) as step:
            return _ask_all(kept, both, _looked_at(kept, asked, max_pixels), step)
    except KeyboardInterrupt:
        note(f"the answers so far are kept in {kept.path}: the same command goes on")
        raise


def _header(
    versions: tuple[ComparedVersion, ComparedVersion], options: Options, images: Path
) -> dict[str, Any]:
    return {
        "a": versions[0].digest,
        "b": versions[1].digest,
        "options": [options.threshold, options.max_detections, options.text_prompt],
        "images": str(images.resolve()),
    }


def _looked_at(
    kept: AnswerFile, asked: Iterable[_Asked], max_pixels: int
) -> Iterator[tuple[Path, Callable[[], _Looked]]]:
    """The pictures in order, each read by another thread while both versions answer those before."""
    from evaluation.answers import SharedPicture, stamp_of

    def look(each: _Asked) -> _Looked:
        stamp = stamp_of(each.path)
        if answer := kept.get(each.name, stamp):
            return answer
        return SharedPicture.of(each.name, _read(each.path), max_pixels), stamp

    with ThreadPoolExecutor(1, "okawari-compare") as pool:
        ahead: deque[tuple[Path, Future[_Looked]]] = deque()
        for each in asked:
            ahead.append((each.path, pool.submit(look, each)))
            if len(ahead) > _AHEAD:
                path, seen = ahead.popleft()
                yield path, seen.result
        for path, seen in ahead:
            yield path, seen.result


def _ask_all(
    kept: AnswerFile,
    both: PairedRunners,
    looked_at: Iterable[tuple[Path, Callable[[], _Looked]]],
    step: Callable[[], None],
) -> tuple[list[PairedAnswer], int]:
    answers, unreadable = [], 0
    warm = _WARM
    for path, look in looked_at:
        try:
            found = look()
        except (BadRequest, OSError) as error:
            note(f"okawari: {click.format_filename(path)}: {error}")
            unreadable += 1
        else:
            if isinstance(found, tuple):
                picture, stamp = found
                for _ in range(warm):
                    both.ask(picture)
                warm = 0
                found = both.ask(picture)
                kept.add(found, stamp)
            answers.append(found)
        step()
    return answers, unreadable


def _read(path: Path) -> bytes:
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise Refused(f"{path} has {size} bytes; at most {_MOST_BYTES} are allowed")
    return path.read_bytes()


# --- the report ------------------------------------------------------------------------------------


def _write(comparison: VersionComparison, images: Path, out: Path, max_pixels: int) -> None:
    from evaluation.page import Thumbnail, page
    from evaluation.picture_facts import thumbnail
    from hotswap.errors import ServingError

    def small(answer: PairedAnswer) -> Thumbnail | None:
        try:
            data = (images / answer.name).read_bytes()
            return Thumbnail(*thumbnail(data, _LONGEST_SIDE, _QUALITY, max_pixels))
        except (ServingError, OSError):
            return None

    out.mkdir(parents=True, exist_ok=True)
    document = json.dumps(comparison.document, indent=1).encode()
    write_atomically(out / DOCUMENT, document)
    write_atomically(out / PAGE, page(comparison, small, str(images)).encode())


def _say(comparison: VersionComparison, out: Path, *, as_json: bool) -> None:
    if as_json:
        say_json(comparison.document)
        return
    verdict = comparison.document["verdict"]
    say(f"{verdict['result']}: {verdict['sentence']}")
    for kind, count in comparison.document["transitions"]["counts"].items():
        say(f"  {kind}: {count}")
    say(f"the page is {out / PAGE}")


# --- marks ------------------------------------------------------------------------------------------


@click.command("marks")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder with the pictures. Default: the one that was compared.",
)
def marks_command(name: str, file: Path, images: Path | None) -> None:
    """Hold the pictures of a comparison in which somebody marked which version is right.

    FILE is what the page of `okawari compare` saves. What the right version found is expected of every later
    version of the model. Pictures in which neither is right are left out, and so are those that have changed.

    \b
    Example:
      okawari golden marks detector ~/Downloads/marks.json
    """
    from evaluation.marks import marked_picture, read_marks

    marks = read_marks(file)
    configured = settings()
    stored_model(ModelStore(configured.models), name, configured.models)
    folder = images or Path(marks.folder)
    golden = GoldenFiles(configured.home)
    added = 0
    for mark, expected in marks.golden():
        try:
            data = marked_picture(folder, mark)
        except (BadRequest, OSError) as error:
            note(f"left out: {error}")
            continue
        golden.add(name, mark.picture, data, expected)
        say(f"{mark.picture}: {len(expected)} findings are expected")
        added += 1
    if not added:
        raise Refused(f"{file} marks no picture of {folder} in which a version is right")
    note(f"{added} golden pictures are held for {name}; every version from now on is tried on them")
