"""Addresses of the running service, as its workers report them in the run folder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workers.run_folder import WorkerState

#: Wildcard addresses → the loopback address by which this machine reaches them.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def joined(host: str, port: int) -> str:
    """HOST:PORT, with brackets round an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def http_url(worker: WorkerState) -> str:
    """The URL by which this machine reaches a listening worker."""
    here = _here(worker.host or "127.0.0.1", worker.port or 0)
    return f"{'https' if worker.tls else 'http'}://{here}"


def http(workers: Iterable[WorkerState]) -> dict[str, Any] | None:
    """The HTTP address as JSON; None while no worker listens. `everywhere`: on all addresses here."""
    worker = next((worker for worker in workers if worker.port), None)
    if worker is None:
        return None
    return {"url": http_url(worker), "everywhere": worker.host in _EVERYWHERE}


def grpc(workers: Iterable[WorkerState]) -> dict[str, Any] | None:
    """The gRPC address as JSON; None while no worker takes calls, or where gRPC is switched off."""
    address = next((worker.grpc for worker in workers if worker.grpc), None)
    if address is None:
        return None
    return {
        "address": _here(address.host, address.port),
        "everywhere": address.host in _EVERYWHERE,
        "tls": address.tls,
        "client_certificates": address.client_certificates,
    }


def lines(http: dict[str, Any] | None, grpc: dict[str, Any] | None) -> list[str]:
    """Both addresses for people, a line each."""
    return [f"HTTP     {_http(http) if http else '-'}", f"gRPC     {_grpc(grpc) if grpc else '-'}"]


def _here(host: str, port: int) -> str:
    return joined(_EVERYWHERE.get(host, host), port)


def _http(address: dict[str, Any]) -> str:
    return f"{address['url']}{_reach(address)}"


def _grpc(address: dict[str, Any]) -> str:
    security = ", TLS" if address["tls"] else ", plain text"
    clients = ", client certificate required" if address["client_certificates"] else ""
    return f"{address['address']}{security}{clients}{_reach(address)}"


def _reach(address: dict[str, Any]) -> str:
    return ", and every other address of this machine" if address["everywhere"] else ""
