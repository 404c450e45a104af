"""`python -m benchmarks.run`: measure, show a table, write a file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks import (
    batching,
    beside,
    cameras,
    churn,
    families,
    guarded,
    loading,
    machine,
    models,
    pictures,
    pointing,
    record,
    remembering,
    report,
    starting,
    streams,
    swapping,
    traced,
)
from benchmarks.aims import Aim, steady_aims, swap_aims
from benchmarks.batching import BatchingResult
from benchmarks.beside import BesideResult
from benchmarks.bring import bring
from benchmarks.cameras import CameraResult
from benchmarks.churn import ChurnResult
from benchmarks.families import SUBJECTS, FamilyResult
from benchmarks.limit import Limit
from benchmarks.loading import KINDS, WAYS, LoadResult
from benchmarks.models import Subject
from benchmarks.options import Options, parse
from benchmarks.pointing import PointsResult
from benchmarks.remembering import MemoryResult
from benchmarks.serving import Service, quiet_environment
from benchmarks.starting import StartResult
from benchmarks.steady import CONCURRENCY, SizeResult, Steady
from benchmarks.swapping import SwapResult
from benchmarks.wires import Wire, Wires
from manifest.tags import ModelTag

_SMALL, _LARGE = "640x480", "12 megapixels"
_WIDTH = 120
#: Models that are loaded together at a cold start, and the columns of their layers: 59 MB each.
_COLD, _COLD_WIDE = 4, 1024


class Bench:
    """One run in a throw-away folder."""

    def __init__(self, options: Options, room: Path, console: Console) -> None:
        self.options = options
        self.room = room
        self.console = console
        data = models.test_data()
        self.subject: Subject = models.subject(room, data)
        self.small = pictures.small(data)
        self.workers = sorted({1, machine.cores()})
        self.worker_counts = sorted({1, machine.cores(), 2 * machine.cores()})
        self.aims: list[Aim] = []
        self.document: dict[str, Any] = {
            "machine": machine.describe(),
            "model": self.subject.about,
            "picture_bytes": {_SMALL: [len(each) for each in self.small]},
        }

    def run(self) -> None:
        """Measure each part that is wanted and show it at once."""
        at = self.document["machine"]
        self.console.print(f"{at['cores']} cores of {at['processor']}, load {at['load_before']}")
        self.console.print(f"{self.subject.about}, commit {at['commit']}")
        takes: dict[str, Callable[[], None]] = {
            "start": self._take_starts,
            "cold": self._take_cold,
            "load": self._take_loads,
            "steady": self._take_steady,
            "swap": self._take_swaps,
            "churn": self._take_churn,
            "memory": self._take_memory,
            "wires": self._take_wires,
            "families": self._take_families,
            "batching": self._take_batching,
            "cameras": self._take_cameras,
            "streams": self._take_streams,
            "traced": self._take_traced,
            "guarded": self._take_guarded,
        }
        for part in self.options.parts:
            takes[part]()
        if self.aims:
            report.show_aims(self.console, self.aims)
        self.console.print(f"\n{record.write(self.options.results, self.document)}")

    def _take_starts(self) -> None:
        results = self._starts()
        report.show_starts(self.console, results)
        self.document["starts"] = record.starts(results)

    def _take_streams(self) -> None:
        room, rounds = self.room / "streams", self.options.rounds
        room.mkdir()
        with self._progress("streams", 2 * rounds) as tell:
            results = streams.measure(room, rounds, tell)
        report.show_streams(self.console, results)
        self.document["streams"] = record.streams(results)

    def _take_traced(self) -> None:
        results = self._traced()
        report.show_beside(self.console, "Traced", "every request; x: of the same without traces", results)
        self.document["traced"] = record.beside(results)

    def _traced(self) -> list[BesideResult]:
        folder = self.subject.version(self.room / "traced", "v1")
        homes = [self._home(name, [folder]) for name in ("untraced", "traced")]
        with (
            traced.collector() as address,
            Service(homes[0], 1) as plain,
            Service(homes[1], 1, OKAWARI_TRACING_ENDPOINT=address) as sending,
        ):
            return self._beside("traced", plain, sending)

    def _take_guarded(self) -> None:
        results = self._guarded()
        report.show_beside(self.console, "Guarded", "x: of the same while nothing is watched", results)
        self.document["guarded"] = record.beside(results)

    def _guarded(self) -> list[BesideResult]:
        first, second = guarded.versions(self.subject, self.room / "guarded")
        homes = [self._home(name, [first]) for name in ("unguarded", "guarded")]
        with (
            Service(homes[0], 1, **guarded.NO_WINDOW) as plain,
            Service(homes[1], 1, **guarded.WINDOW) as watching,
        ):
            for service in (plain, watching):
                guarded.switch(service, self.subject.name, second)
            return self._beside("guarded", plain, watching)

    def _beside(self, what: str, plain: Service, other: Service) -> list[BesideResult]:
        rounds, seconds = self.options.rounds, 2 * self.options.seconds
        with self._progress(what, rounds * len(beside.CONCURRENCY)) as tell:
            return beside.measure(plain, other, self.small, rounds=rounds, seconds=seconds, tell=tell)

    def _take_loads(self) -> None:
        results = self._loads()
        report.show_loads(self.console, results)
        self.document["loads"] = record.loads(results)

    def _loads(self) -> list[LoadResult]:
        room, rounds = self.room / "load", self.options.rounds
        with self._progress("load", rounds * len(KINDS) * len(WAYS)) as tell:
            return loading.measure(room, rounds, tell)

    def _take_cold(self) -> None:
        results = self._cold()
        report.show_cold(self.console, results, _COLD)
        self.document["cold"] = record.starts(results)

    def _take_steady(self) -> None:
        results = self._steady()
        report.show_steady(self.console, results)
        self.document["steady"] = record.steady(results)
        self.aims += steady_aims(results[0])

    def _take_swaps(self) -> None:
        results = self._swaps()
        report.show_swaps(self.console, results)
        self.document["swaps"] = record.swaps(results)
        self.aims += swap_aims(results)

    def _take_churn(self) -> None:
        results = self._churn()
        report.show_churn(self.console, results)
        self.document["churn"] = record.churn(results)

    def _take_memory(self) -> None:
        trimmed, untrimmed = self._memory()
        report.show_memory(self.console, trimmed)
        report.show_memory(self.console, untrimmed)
        self.document["memory"] = record.memory(trimmed)
        self.document["memory_untrimmed"] = record.memory(untrimmed)

    def _take_wires(self) -> None:
        wires = self._wires()
        report.show_wires(self.console, wires, machine.cores())
        self.document["wires"] = record.wires(wires)

    def _take_families(self) -> None:
        data = models.test_data()
        if data is None:
            self.console.print(f"\nFamilies are not measured: {models.VARIABLE} names no models.")
            return
        results, points = self._families(data)
        report.show_families(self.console, results, points)
        self.document["families"] = record.families(results, points)

    def _take_batching(self) -> None:
        results = self._batching()
        report.show_batching(self.console, results)
        self.document["batching"] = record.batching(results)

    def _take_cameras(self) -> None:
        result = self._cameras()
        report.show_cameras(self.console, result)
        self.document["cameras"] = record.cameras(result)

    def _cameras(self) -> CameraResult:
        data, name = models.test_data(), self.subject.name
        folder = self.room / "cameras"
        if data is None:
            version = self.subject.version(folder, "v1")
        else:
            yolox = next(subject for subject in SUBJECTS if subject.name == "yolox")
            version, name = yolox.version(data, folder), yolox.name
        home = self._home("cameras", [version])
        squares = cameras.square(self.small)
        result = CameraResult()
        with (
            Service(home, machine.cores(), **cameras.SETTINGS) as service,
            self._progress("cameras", self.options.rounds + 100) as tell,
        ):
            measured = cameras.measure(
                service,
                name,
                squares,
                rounds=self.options.rounds,
                seconds=2 * self.options.seconds,
            )
            for result in measured:  # noqa: B007 - the last is whole
                tell(f"{cameras.DEVICES} devices")
            room = self.room / "kept"
            room.mkdir()
            result.keeping.update(cameras.keeping(room, squares, tell))
        return result

    def _families(self, data: Path) -> tuple[list[FamilyResult], list[PointsResult]]:
        room = self.room / "families"
        sam = next(subject for subject in SUBJECTS if subject.name == "sam")
        versions = [subject.version(data, room) for subject in SUBJECTS]
        home = self._home("families", [*versions, pointing.version(sam, data, room)])
        large = {
            "smooth": pictures.smooth(self.small[0]),
            "full of noise": pictures.large(self.small[:1])[0],
        }
        names = [*(subject.name for subject in SUBJECTS), pointing.NAME]
        rounds, seconds = self.options.rounds, self.options.seconds
        results: list[FamilyResult] = []
        with (
            Service(home, 1, OKAWARI_SERVE=",".join(f"{name}:latest" for name in names)) as service,
            self._progress("families", len(SUBJECTS)) as tell,
        ):
            for subject in SUBJECTS:
                tell(subject.name)
                results += families.measure(
                    service, subject, self.small, room, rounds=rounds, seconds=seconds
                )
            return results, [pointing.measure(service, *each) for each in large.items()]

    def _wires(self) -> list[Wire]:
        home = self._home("wires", [self.subject.version(self.room / "wires", "v1")])
        tag = ModelTag(self.subject.name, "v1")
        with (
            Limit(home, tag, [self.small], machine.cores()) as limit,
            Service(home, machine.cores()) as service,
        ):
            wires = Wires(service, self.subject.name, self.small, self.room)
            with self._progress("wires", self.options.rounds * len(wires.wires)) as tell:
                for _ in range(self.options.rounds):
                    for step in wires.round(limit, self.options.seconds):
                        tell(step)
            return wires.wires

    def _starts(self) -> list[StartResult]:
        home = self._home("start", [self.subject.version(self.room / "start", "v1")])
        rounds = self.options.rounds
        with self._progress("start", rounds * len(self.workers)) as tell:
            return [
                starting.measure(
                    home,
                    count,
                    models={self.subject.name: self.subject.weights},
                    picture=self.small[0],
                    rounds=rounds,
                    tell=tell,
                )
                for count in self.workers
            ]

    def _cold(self) -> list[StartResult]:
        subjects = [models.dense(self.room, f"dense{number}", _COLD_WIDE, number) for number in range(_COLD)]
        home = self._home("cold", [subject.version(self.room / "cold", "v1") for subject in subjects])
        counts, rounds = (1, 2, 4), -(-self.options.rounds // 2)
        with self._progress("cold", rounds * len(counts)) as tell:
            return [
                starting.measure(
                    home,
                    count,
                    models={subject.name: subject.weights for subject in subjects},
                    picture=self.small[0],
                    rounds=rounds,
                    tell=tell,
                )
                for count in counts
            ]

    def _steady(self) -> list[SizeResult]:
        large = pictures.large(self.small)
        self.document["picture_bytes"][_LARGE] = [len(each) for each in large]
        sets = [self.small, large]
        sizes = [(_SMALL, self.options.seconds), (_LARGE, self.options.large_seconds)]
        folder = self.subject.version(self.room / "steady", "v1")
        homes = [self._home(f"steady-{count}", [folder]) for count in self.worker_counts]
        tag = ModelTag(self.subject.name, "v1")
        steps = self.options.rounds * len(sizes) * (1 + len(CONCURRENCY))
        with ExitStack() as running:
            limit = running.enter_context(Limit(homes[0], tag, sets, machine.cores()))
            services = [
                running.enter_context(Service(*each)) for each in zip(homes, self.worker_counts, strict=True)
            ]
            steady = Steady(limit, services, sizes)
            tell = running.enter_context(self._progress("throughput", steps))
            for _ in range(self.options.rounds):
                for step in steady.round(sets):
                    tell(step)
            return steady.results

    def _swaps(self) -> list[SwapResult]:
        names = [f"v{number}" for number in range(1, self.options.swaps + 2)]
        first, *later = [self.subject.version(self.room / "swap", name) for name in names]
        results = []
        with self._progress("swaps", len(self.workers)) as tell:
            for count in self.workers:
                tell(f"{self.options.swaps} imports under load, workers: {count}")
                with Service(self._home(f"swap-{count}", [first]), count) as service:
                    results.append(swapping.measure(service, later, self.small, self.options.steady_seconds))
        return results

    def _memory(self) -> list[MemoryResult]:
        """With the heap handed back after each swap, as the service does, and without."""
        versions = models.heavy(self.room / "memory")
        swaps = self.options.memory_swaps
        results = []
        with self._progress("memory", 2 * swaps) as tell:
            for prelude in ("", remembering.UNTRIMMED):
                home = self._home(f"memory-{bool(prelude)}", versions)
                with Service(home, 1, prelude=prelude, OKAWARI_GUARD_SECONDS="0") as service:
                    results.append(
                        remembering.measure(service, versions, self.small, swaps, tell, trimmed=not prelude)
                    )
        return results

    def _churn(self) -> list[ChurnResult]:
        versions = churn.restless(self.room / "churn")
        steady = self.subject.version(self.room / "churn", "v1")
        name, rounds = self.subject.name, self.options.rounds
        serve = f"{name}:latest,{churn.NAME}:latest"
        results = []
        with self._progress("churn", 2 * rounds * len(self.workers)) as tell:
            for count in self.workers:
                home = self._home(f"churn-{count}", [steady, *versions])
                with Service(home, count, OKAWARI_SERVE=serve) as service:
                    results.append(
                        churn.measure(
                            service,
                            name,
                            versions,
                            self.small,
                            rounds=rounds,
                            seconds=2 * self.options.seconds,
                            tell=tell,
                        )
                    )
        return results

    def _batching(self) -> list[BatchingResult]:
        room = self.room / "batching"
        subjects = batching.subjects(room, self.subject, models.test_data())
        folders = [folder for subject in subjects for folder in subject.versions(room / "versions")]
        serve = ",".join(f"{folder.parent.name}:latest" for folder in folders)
        rounds, steps = self.options.rounds, self.options.rounds * len(folders)
        with (
            Service(self._home("batching", folders), machine.cores(), OKAWARI_SERVE=serve) as service,
            self._progress("batching", steps) as tell,
        ):
            return [
                batching.measure(
                    service, subject, self.small, rounds=rounds, seconds=self.options.seconds, tell=tell
                )
                for subject in subjects
            ]

    def _home(self, name: str, folders: list[Path]) -> Path:
        home = self.room / "homes" / name
        home.mkdir(parents=True)
        bring(home, folders)
        return home

    @contextmanager
    def _progress(self, what: str, steps: int) -> Iterator[Any]:
        """A line that says what is being done; gone when it is done."""
        with Progress(console=self.console, transient=True, refresh_per_second=1) as progress:
            task = progress.add_task(what, total=steps)

            def tell(step: str) -> None:
                progress.update(task, description=f"{what}: {step}", advance=1)

            yield tell


def _console() -> Console:
    """A table that is cut off tells nothing: rather let a narrow terminal wrap its lines."""
    console = Console(highlight=False)
    console.width = max(_WIDTH, console.width)
    return console


def main() -> None:
    """Run the benchmark."""
    options = parse()
    quiet_environment()
    with tempfile.TemporaryDirectory(prefix="okawari-bench-") as room:
        Bench(options, Path(room), _console()).run()


if __name__ == "__main__":
    main()
