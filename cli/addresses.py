"""Where the service is asked, as its workers tell it in the run folder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workers.run_folder import WorkerState

#: What a worker listens on when it listens everywhere, and how this machine reaches it.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a worker does, not we


def joined(host: str, port: int) -> str:
    """HOST:PORT as clients read it, with brackets round IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def http_url(worker: WorkerState) -> str:
    """Where this machine reaches a worker that listens."""
    here = _here(worker.host or "127.0.0.1", worker.port or 0)
    return f"{'https' if worker.tls else 'http'}://{here}"


def http(workers: Iterable[WorkerState]) -> dict[str, Any] | None:
    """HTTP for programs; None while nobody listens. `everywhere`: on every address of the machine."""
    worker = next((each for each in workers if each.port), None)
    if worker is None:
        return None
    return {"url": http_url(worker), "everywhere": worker.host in _EVERYWHERE}


def grpc(workers: Iterable[WorkerState]) -> dict[str, Any] | None:
    """gRPC for programs; None while nobody takes calls, or where it is switched off."""
    found = next((each.grpc for each in workers if each.grpc), None)
    if found is None:
        return None
    return {
        "address": _here(found.host, found.port),
        "everywhere": found.host in _EVERYWHERE,
        "tls": found.tls,
        "client_certificates": found.client_certificates,
    }


def told(http: dict[str, Any] | None, grpc: dict[str, Any] | None) -> list[str]:
    """Both for people."""
    return [f"HTTP     {_http(http) if http else '-'}", f"gRPC     {_grpc(grpc) if grpc else '-'}"]


def _here(host: str, port: int) -> str:
    return joined(_EVERYWHERE.get(host, host), port)


def _http(found: dict[str, Any]) -> str:
    return f"{found['url']}{_reach(found)}"


def _grpc(found: dict[str, Any]) -> str:
    secret = ", TLS" if found["tls"] else ", plain text"
    clients = ", only clients with a certificate" if found["client_certificates"] else ""
    return f"{found['address']}{secret}{clients}{_reach(found)}"


def _reach(found: dict[str, Any]) -> str:
    return ", and every other address of this machine" if found["everywhere"] else ""
