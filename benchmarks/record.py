"""The results as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.batching import BatchingResult
from benchmarks.beside import BesideResult
from benchmarks.cameras import CameraResult
from benchmarks.churn import ChurnResult
from benchmarks.families import FamilyResult
from benchmarks.figures import Spread
from benchmarks.loading import LoadResult
from benchmarks.pointing import PointsResult
from benchmarks.remembering import MemoryResult
from benchmarks.starting import StartResult
from benchmarks.steady import Case, SizeResult
from benchmarks.streams import StreamResult
from benchmarks.swapping import SwapResult
from benchmarks.wires import Wire

_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def write(folder: Path, document: dict[str, Any]) -> Path:
    """Write a results file named after its time."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{document['machine']['at'].replace(':', '').replace('+0000', 'Z')}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def streams(results: Iterable[StreamResult]) -> list[dict[str, Any]]:
    """Dispatchers: messages a second, as a share of the service alone, and their processor time."""
    return [
        {
            "dispatcher": result.name,
            "messages_per_second": result.figure("rate").as_json(),
            "of_alone": result.of_alone.as_json(),
            "cpu_ms": result.figure("cpu_ms").as_json(),
        }
        for result in results
    ]


def starts(results: Iterable[StartResult]) -> list[dict[str, Any]]:
    """Start and memory."""
    return [
        {
            "workers": result.workers,
            "first_answer_s": Spread.of(result.seconds).as_json(),
            "first_answer_of_plain": result.start_ratio.as_json(),
            "proportional_mb": Spread.of(result.proportional).as_json(),
            "proportional_of_plain": result.memory_ratio.as_json(),
        }
        for result in results
    ]


def loads(results: Iterable[LoadResult]) -> list[dict[str, Any]]:
    """Loads plain and compiled: milliseconds and MB."""
    return [
        {"weights": result.kind, "way": result.way}
        | {name: spread.as_json() for name, spread in result.spreads()}
        for result in results
    ]


def steady(results: Iterable[SizeResult]) -> list[dict[str, Any]]:
    """Throughput and latency."""
    return [
        {
            "pictures": result.size,
            "limit_per_second": Spread.of([one.rate for one in result.limits]).as_json(),
            "limit_cpu_ms": Spread.of([one.cpu_ms for one in result.limits]).as_json(),
            "limit_cores": result.cores.as_json(),
            "cases": [
                _case(case) | {"throughput_of_limit_by_cpu": round(result.thrift(case), 4)}
                for case in result.cases
            ],
        }
        for result in results
    ]


def _case(case: Case) -> dict[str, Any]:
    return {
        "workers": case.workers,
        "concurrency": case.concurrency,
        "throughput_of_limit": case.ratio.as_json(),
        "answers_per_second": case.rate.as_json(),
        "latency_ms": {name: case.latency(share).as_json() for name, share in _SHARES.items()},
        "p50_over_alone_ms": case.overhead.as_json(),
        "cpu_ms": case.cpu_ms.as_json(),
        "client_cpu_ms": case.client_ms.as_json(),
        "busiest_worker": case.busiest.as_json(),
        "failed": case.failed,
    }


def swaps(results: Iterable[SwapResult]) -> list[dict[str, Any]]:
    """What requests notice of swaps."""
    return [
        {
            "workers": result.workers,
            "answers": len(result.load.done),
            "failed": result.load.failed,
            "steady_ms": {name: round(result.steady_p(share), 3) for name, share in _SHARES.items()},
            "window_ms": {name: result.window_p(share).as_json() for name, share in _SHARES.items()},
            "p99_of_steady": result.ratio.as_json(),
            "p99_of_steady_all_windows": round(result.pooled_ratio, 4),
            "import_to_first_answer_s": [round(swap.to_first_answer, 3) for swap in result.swaps],
            "after_import_s": [round(swap.after_import, 3) for swap in result.swaps],
        }
        for result in results
    ]


def churn(results: Iterable[ChurnResult]) -> list[dict[str, Any]]:
    """One model beside the loads of another."""
    return [
        {
            "workers": result.workers,
            "model_mb": round(result.size_mb, 1),
            "load_seconds": [round(each, 3) for each in result.loads],
            "quiet_ms": {name: result.latency(result.quiet, at).as_json() for name, at in _SHARES.items()},
            "storm_of_quiet": {name: result.ratio(at).as_json() for name, at in _SHARES.items()},
            "throughput_of_quiet": result.throughput.as_json(),
            "failed": result.failed,
        }
        for result in results
    ]


def beside(results: Iterable[BesideResult]) -> list[dict[str, Any]]:
    """A service against one that differs in one thing."""
    return [
        {
            "concurrency": result.concurrency,
            "throughput_of_plain": result.of_plain(lambda run: run.load.rate).as_json(),
            "cpu_of_plain": result.of_plain(lambda run: run.cpu_ms).as_json(),
            "cpu_ms_more": result.more_cpu_ms.as_json(),
            "p50_of_plain": result.of_plain(lambda run: run.latency(0.5)).as_json(),
            "p95_of_plain": result.of_plain(lambda run: run.latency(0.95)).as_json(),
            "failed": result.failed,
        }
        for result in results
    ]


def batching(results: Iterable[BatchingResult]) -> list[dict[str, Any]]:
    """Requests that share runs, against the same requests alone."""
    return [
        {
            "model": result.name,
            "runs": variant,
            "answers_per_second": Spread.of([run.load.rate for run in runs]).as_json(),
            "throughput_of_alone": result.of_alone(variant, lambda run: run.load.rate).as_json(),
            "cpu_of_alone": result.of_alone(variant, lambda run: run.cpu_ms).as_json(),
            "latency_of_alone": {
                "p50": result.of_alone(variant, lambda run: run.latency(0.5)).as_json(),
                "p95": result.of_alone(variant, lambda run: run.latency(0.95)).as_json(),
            },
            "failed": sum(run.load.failed for run in runs),
        }
        for result in results
        for variant, runs in result.runs.items()
    ]


def memory(result: MemoryResult) -> dict[str, Any]:
    """Memory over swaps, in MB."""
    return {
        "model_mb": round(result.size_mb, 1),
        "resident": [round(value, 1) for value in result.resident],
        "proportional": [round(value, 1) for value in result.proportional],
        "swap_seconds": [round(value, 3) for value in result.seconds],
        "growth_per_swap": round(result.growth_per_swap, 3),
        "growth_share": round(result.growth_share, 4),
    }


def families(results: Iterable[FamilyResult], points: Iterable[PointsResult]) -> dict[str, Any]:
    """Each family, and ten points on one picture of each kind."""
    figures = ("rate", "limit_rate", "p50", "alone")
    return {
        "served": [
            {
                "family": result.name,
                "throughput_of_limit": result.of_limit.as_json(),
                "p50_over_alone_ms": result.over_alone.as_json(),
                **{name: result.figure(name).as_json() for name in figures},
                "failed": result.failed,
            }
            for result in results
        ],
        "points_ms": [
            {
                "picture": each.picture,
                "encoder_runs": each.encoder_runs,
                "decoder": each.decoder.as_json(),
                "mask": each.mask.as_json(),
                "served": [round(one, 2) for one in each.served],
                "alone": [round(one, 2) for one in each.alone],
            }
            for each in points
        ],
    }


def cameras(result: CameraResult) -> dict[str, Any]:
    """Devices that hand in."""
    figures = ("rate", "limit_rate", "predict_rate", "p50", "p95", "predict_p95")
    return {
        "throughput_of_predict": result.of_predict.as_json(),
        "throughput_of_limit": result.of_limit.as_json(),
        **{name: result.figure(name).as_json() for name in figures},
        "keeping_ms": {name: Spread.of(values).as_json() for name, values in result.keeping.items()},
    }


def wires(results: Iterable[Wire]) -> list[dict[str, Any]]:
    """The same model over every wire."""
    figures = ("rate", "p50", "p99", "cpu_ms", "client_ms")
    return [
        {
            "wire": wire.name,
            "throughput_of_limit": wire.of_limit().as_json(),
            **{name: wire.figure(name).as_json() for name in figures},
            "failed": sum(run.failed for run in wire.runs),
        }
        for wire in results
    ]
