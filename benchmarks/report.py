"""The results on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.aims import Aim
from benchmarks.batching import CONCURRENCY as AT_ONCE
from benchmarks.batching import BatchingResult
from benchmarks.beside import BesideResult
from benchmarks.cameras import DEVICES, SIDE, CameraResult
from benchmarks.churn import CONCURRENCY as CHURNING
from benchmarks.churn import ChurnResult
from benchmarks.families import FamilyResult
from benchmarks.figures import Spread, percentile
from benchmarks.loading import LoadResult
from benchmarks.machine import cores
from benchmarks.pointing import PointsResult
from benchmarks.remembering import MemoryResult
from benchmarks.starting import StartResult
from benchmarks.steady import SizeResult
from benchmarks.streams import StreamResult
from benchmarks.swapping import SwapResult
from benchmarks.wires import CONCURRENCY, Wire

#: The share of the cores that the limit must have had for its throughput to mean something.
_ENOUGH = 0.9


def show_starts(console: Console, results: Iterable[StartResult]) -> None:
    """Start and memory."""
    console.print("\n[bold]Start[/] (beside one plain Python that loads the model and runs it once)")
    console.print(_starts_table(results))


def show_cold(console: Console, results: Iterable[StartResult], count: int) -> None:
    """Start and memory with several models, by the number of workers."""
    console.print(f"\n[bold]Cold start of {count} models[/] (beside one plain Python that loads them)")
    console.print(_starts_table(results))


def _starts_table(results: Iterable[StartResult]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("workers", "first answer s", "x plain", "PSS of all MB", "x plain"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            str(result.workers),
            Spread.of(result.seconds).text(2),
            result.start_ratio.text(2),
            Spread.of(result.proportional).text(0),
            result.memory_ratio.text(2),
        )
    return table


def show_loads(console: Console, results: Iterable[LoadResult]) -> None:
    """Loads plain and compiled."""
    console.print("\n[bold]Load[/] of 100 MB of weights, each the first of its process; memory is its own")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("weights of", no_wrap=True)
    table.add_column("way", no_wrap=True)
    for name in ("opened ms", "first answer ms", "memory MB", "another process MB"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(result.kind, result.way, *(spread.text(1) for _, spread in result.spreads()))
    console.print(table)


def show_steady(console: Console, results: Iterable[SizeResult]) -> None:
    """Throughput and latency."""
    for result in results:
        rate = Spread.of([one.rate for one in result.limits])
        alone = Spread.of([percentile(one.milliseconds, 0.5) for one in result.alone])
        cpu = Spread.of([one.cpu_ms for one in result.limits])
        console.print(
            f"\n[bold]{result.size}[/]: LIMIT {rate.text(1)} pictures/s on {result.cores.text(2)} cores, "
            f"{cpu.text(2)} ms of processor time"
        )
        console.print(f"the same work alone in one process: p50 {alone.text(2)} ms")
        console.print(_steady_table(result))
        if result.cores.median < _ENOUGH * cores():
            console.print("[yellow]Others used the machine: trust the columns of processor time alone.[/]")


def _steady_table(result: SizeResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (
        "workers",
        "at once",
        "x LIMIT",
        "/s",
        "p50 ms",
        "p95",
        "p99",
        "over alone",
        "CPU ms",
        "client",
        "x LIMIT by CPU",
        "busiest",
        "failed",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for case in sorted(result.cases, key=lambda each: (each.workers, each.concurrency)):
        table.add_row(
            str(case.workers),
            str(case.concurrency),
            case.ratio.text(2),
            f"{case.rate.median:.1f}",
            f"{case.latency(0.5).median:.1f}",
            f"{case.latency(0.95).median:.1f}",
            f"{case.latency(0.99).median:.1f}",
            case.overhead.text(1) if case.concurrency == 1 else "",
            f"{case.cpu_ms.median:.2f}",
            f"{case.client_ms.median:.2f}",
            f"{result.thrift(case):.2f}",
            f"{case.busiest.median:.0%}" if case.workers > 1 else "",
            str(case.failed),
        )
    return table


def show_swaps(console: Console, results: Iterable[SwapResult]) -> None:
    """What requests notice of swaps."""
    console.print(
        "\n[bold]Swap under load[/] (window: from the start of the import to the old version's end)"
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (
        "workers",
        "swaps",
        "steady p50",
        "p99 ms",
        "window p50",
        "p99 ms",
        "x steady",
        "pooled",
        "import to answer s",
        "failed",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            str(result.workers),
            str(len(result.swaps)),
            f"{result.steady_p(0.5):.1f}",
            f"{result.steady_p(0.99):.1f}",
            f"{result.window_p(0.5).median:.1f}",
            f"{result.window_p(0.99).median:.1f}",
            result.ratio.text(2),
            f"{result.pooled_ratio:.2f}",
            Spread.of([swap.to_first_answer for swap in result.swaps]).text(2),
            str(result.load.failed),
        )
    console.print(table)


def show_churn(console: Console, results: Iterable[ChurnResult]) -> None:
    """What the callers of one model notice of loads of another."""
    console.print(f"\n[bold]Churn[/] (another model loads every second beside {CHURNING} requests at once)")
    table = Table(box=None, pad_edge=False, header_style="dim")
    names = ("workers", "loads", "MB", "a load s", "quiet p50", "p99 ms", "storm p50 x", "p99 x", "/s x")
    for name in (*names, "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            str(result.workers),
            str(len(result.loads)),
            f"{result.size_mb:.0f}",
            f"{median(result.loads):.2f}",
            f"{result.latency(result.quiet, 0.5).median:.1f}",
            f"{result.latency(result.quiet, 0.99).median:.1f}",
            result.ratio(0.5).text(2),
            result.ratio(0.99).text(2),
            result.throughput.text(2),
            str(result.failed),
        )
    console.print(table)


def show_beside(console: Console, what: str, about: str, results: Iterable[BesideResult]) -> None:
    """A service against one that differs in one thing."""
    console.print(f"\n[bold]{what}[/] (1 worker; {about})")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("at once", "/s", "x", "CPU ms more", "CPU x", "p50 x", "p95 x", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            str(result.concurrency),
            f"{median(run.load.rate for run in result.other):.0f}",
            result.of_plain(lambda run: run.load.rate).text(3),
            result.more_cpu_ms.text(3),
            result.of_plain(lambda run: run.cpu_ms).text(3),
            result.of_plain(lambda run: run.latency(0.5)).text(3),
            result.of_plain(lambda run: run.latency(0.95)).text(3),
            str(result.failed),
        )
    console.print(table)


def show_batching(console: Console, results: Iterable[BatchingResult]) -> None:
    """Requests that share runs, against the same requests alone."""
    console.print(
        f"\n[bold]Batching[/] ({AT_ONCE} at once, 1 worker per core; x: of the same requests alone)"
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("model", "runs"):
        table.add_column(name, no_wrap=True)
    for name in ("/s", "x", "CPU ms", "x", "p50 x", "p95 x", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        for variant, runs in result.runs.items():
            table.add_row(
                result.name,
                variant,
                f"{median(run.load.rate for run in runs):.0f}",
                result.of_alone(variant, lambda run: run.load.rate).text(2),
                f"{median(run.cpu_ms for run in runs):.2f}",
                result.of_alone(variant, lambda run: run.cpu_ms).text(2),
                result.of_alone(variant, lambda run: run.latency(0.5)).text(2),
                result.of_alone(variant, lambda run: run.latency(0.95)).text(2),
                str(sum(run.load.failed for run in runs)),
            )
    console.print(table)


def show_memory(console: Console, result: MemoryResult) -> None:
    """Memory over swaps."""
    resident = result.resident
    proportional = f", PSS {result.proportional[-1]:.0f} MB" if result.proportional else ""
    took = f"{median(result.seconds):.2f} s each"
    how = "" if result.trimmed else " without malloc_trim"
    console.print(f"\n[bold]Memory[/]{how}: {len(resident)} swaps of {result.size_mb:.0f} MB, {took}")
    console.print(
        f"RSS {resident[0]:.0f} MB after the first, {resident[-1]:.0f} after the last{proportional}; "
        f"{result.growth_per_swap:+.2f} MB a swap, {result.growth_share:+.1%} of a model in all"
    )


def show_wires(console: Console, wires: Iterable[Wire], workers: int) -> None:
    """The same model over every wire."""
    console.print(
        f"\n[bold]Wires[/] ({workers} workers, {CONCURRENCY} at once; "
        "the limit decodes pictures, which tensors spare the service)"
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("wire", no_wrap=True)
    for name in ("x LIMIT", "/s", "p50 ms", "p99", "CPU ms", "client", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for wire in wires:
        table.add_row(
            wire.name,
            wire.of_limit().text(2),
            f"{wire.figure('rate').median:.1f}",
            wire.figure("p50").text(1),
            f"{wire.figure('p99').median:.1f}",
            f"{wire.figure('cpu_ms').median:.2f}",
            f"{wire.figure('client_ms').median:.2f}",
            str(sum(run.failed for run in wire.runs)),
        )
    console.print(table)


def show_families(console: Console, results: Iterable[FamilyResult], points: Iterable[PointsResult]) -> None:
    """Each family beside the same work without a server."""
    console.print(f"\n[bold]Families[/] (1 worker, {cores()} at once; the p50 with one at once)")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("family", no_wrap=True)
    for name in ("x LIMIT", "/s", "p50 ms", "over alone", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            result.name,
            result.of_limit.text(2),
            result.figure("rate").text(1),
            result.figure("p50").text(1),
            result.over_alone.text(1),
            str(result.failed),
        )
    console.print(table)
    for each in points:
        _show_points(console, each)


def _show_points(console: Console, points: PointsResult) -> None:
    later = Spread.of(points.served[1:])
    console.print(
        f"ten points on one picture of 12 megapixels, {points.picture}: the first {points.served[0]:.0f} ms, "
        f"the others {later.text(1)} ms, {points.next_of_first.text(3)} of it; "
        f"{points.over_alone.text(1)} ms over the same work without a server; runs of the encoder: "
        f"{points.encoder_runs}; of the others the decoder takes {points.decoder.text(1)} ms, the mask "
        f"{points.mask.text(1)} ms"
    )


def show_cameras(console: Console, result: CameraResult) -> None:
    """Devices that hand in, beside `/predict`."""
    console.print(
        f"\n[bold]Cameras[/] ({DEVICES} at once, 1 worker per core, pictures of {SIDE}x{SIDE}): "
        f"{result.figure('rate').text(1)} pictures/s, {result.of_predict.text(2)} of /predict, "
        f"{result.of_limit.text(2)} of the limit; p50 {result.figure('p50').text(0)} ms, "
        f"p95 {result.figure('p95').text(0)} ms (/predict {result.figure('predict_p95').text(0)} ms), "
        f"failed: {sum(run.failed for run in result.runs)}"
    )
    for name, milliseconds in result.keeping.items():
        console.print(f"kept alone, {name}: p50 {percentile(milliseconds, 0.5):.1f} ms, ", end="")
        console.print(f"p95 {percentile(milliseconds, 0.95):.1f} ms")


def show_streams(console: Console, results: list[StreamResult]) -> None:
    """Dispatchers, beside the service alone."""
    console.print("\n[bold]Streams[/] (1 worker, messages that name small pictures)")
    for result in results:
        console.print(
            f"{result.name}: {result.figure('rate').text(0)} messages/s, {result.of_alone.text(2)} of the "
            f"service alone; {result.figure('cpu_ms').text(2)} ms of processor a message"
        )
    if not results:
        console.print("not measured: no broker, no S3 server or no Flink on this machine")


def show_aims(console: Console, aims: Iterable[Aim]) -> None:
    """What is aimed at, and what came out."""
    console.print("\n[bold]Aims[/] (the better number of workers counts)")
    for aim in aims:
        mark = "[green]met[/]   " if aim.met else "[yellow]missed[/]"
        console.print(f"{mark} {aim.text}: {aim.found:.2f} with {aim.workers} worker{'s'[: aim.workers - 1]}")
