"""A client of the running service: find it, predict, fetch the annotated picture, manage its models."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.addresses import http_url
from cli.errors import Refused
from common.files import write_atomically
from workers.run_folder import RunFolder

if TYPE_CHECKING:
    import httpx

#: Requests in flight at once.
AT_ONCE = 4
_TRIES = 5
_LONGEST_PAUSE = 2.0
#: Statuses after which the same request may soon succeed.
_BUSY = (429, 503)


def service_url(run: RunFolder) -> str:
    """The URL of the service of this home. Raises `Refused`, saying what to do, while it is not listening."""
    if not run.is_up():
        raise Refused(
            f"the service of {run.path.parent} is down: start it (`make run`, or `bentoml serve "
            "service:Okawari`), or give the URL of another one: --url http://HOST:PORT"
        )
    worker = next((worker for worker in run.worker_states() if worker.port), None)
    if worker is None:
        raise Refused("the service is starting and not listening yet; `okawari status` shows when it is")
    return http_url(worker)


def bearer_token(admin_token: str | None, *, own: bool) -> str | None:
    """What is sent with requests: `OKAWARI_TOKEN`, else the admin token, which an own service alone gets."""
    return os.environ.get("OKAWARI_TOKEN") or (admin_token if own else None)


def connect(url: str, *, own: bool, token: str | None = None) -> httpx.Client:
    """A client of the service at `url`; `own`: it runs on this machine, so no proxy is used.

    `token` is the bearer token of each request.

    The certificate of an own service is not checked, since it names the public host, not the loopback
    address. Raises `Refused` when no Okawari service answers there.
    """
    import httpx

    timeout = httpx.Timeout(120.0, connect=5.0, pool=None)
    try:
        client = httpx.Client(
            base_url=url, timeout=timeout, trust_env=not own, verify=not own, headers=_bearer(token)
        )
        answer = client.get("/livez")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Refused(f"no service answers at {url}: {error}") from None
    if answer.status_code != 200 or "x-request-id" not in answer.headers:
        client.close()
        raise Refused(f"{url} is not an Okawari service (GET /livez: {answer.status_code})")
    return client


def manage(
    client: httpx.Client, method: str, path: str, token: str | None, query: Mapping[str, int]
) -> tuple[int, Any]:
    """Status, 200 or 202, and document of a management call. Raises `Refused` with the service's reason."""
    import httpx

    try:
        answer = client.request(method, path, params=query, headers=_bearer(token))
        document = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        reason = error or type(error).__name__
        raise Refused(f"no readable answer from {client.base_url}: {reason}") from None
    if answer.status_code not in (200, 202):
        raise Refused(_refusal(answer.status_code, document))
    return answer.status_code, document


def _bearer(token: str | None) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + os.fsencode(token)} if token else {}


def _refusal(status: int, document: Any) -> str:
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return f"status {status} without a readable error"
    hint = "; set OKAWARI_ADMIN_TOKEN to the service's token" if status in (401, 403) else ""
    return f"{error.get('message')}{hint}"


class RequestFailed(Exception):
    """A request for one picture failed; `code` is the service's error code, or one of this client."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PictureOutcome:
    """The outcome for one file: the service's answer, or the failure."""

    file: Path
    answer: Mapping[str, Any] | None = None
    saved: Path | None = None
    failed: RequestFailed | None = None


class PredictClient:
    """Sends pictures to the service; may be used by several threads at once.

    `fields` are sent with every request. Annotated pictures are fetched as `media_type`.
    """

    def __init__(
        self,
        client: httpx.Client,
        fields: Mapping[str, str],
        media_type: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._fields = dict(fields)
        self._media_type = media_type
        self._sleep = sleep

    def predict(self, file: Path, place: Path | None) -> PictureOutcome:
        """Predict one picture; with `place`, write the picture annotated by the same version there.

        A failure of one file is part of the outcome and never raised.
        """
        try:
            data = _read(file)
            answer, drawn = self._both(data) if place else (self._predict(data), b"")
            if place is not None:
                write_atomically(place, drawn)
            return PictureOutcome(file, answer, place)
        except RequestFailed as failed:
            return PictureOutcome(file, failed=failed)
        except OSError as error:
            return PictureOutcome(file, failed=RequestFailed("file", error.strerror or str(error)))

    def _both(self, data: bytes) -> tuple[Mapping[str, Any], bytes]:
        """The answer and its picture, by one version: a swap may come between, so the second names it."""
        for _ in range(_TRIES):
            answer = self._predict(data)
            version = {"model": answer["model"], "version": answer["model_version"]}
            try:
                return answer, self._post("/predict/annotated", data, version).content
            except RequestFailed as failed:
                if failed.code not in ("version_not_loaded", "version_not_found"):
                    raise
        raise RequestFailed("swapped", "the model was swapped repeatedly between prediction and annotation")

    def _predict(self, data: bytes) -> Mapping[str, Any]:
        response = self._post("/predict", data, {})
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "detections" not in answer:
            raise RequestFailed("strange", "the answer is not a prediction: this is not an Okawari service")
        return answer

    def _post(self, path: str, data: bytes, more: Mapping[str, str]) -> httpx.Response:
        """The response of status 200; a busy service is retried a few times. Raises `RequestFailed`."""
        response = self._send(path, data, more)
        for _ in range(_TRIES - 1):
            if response.status_code not in _BUSY:
                break
            self._sleep(_pause(response))
            response = self._send(path, data, more)
        if response.status_code != 200:
            raise _failure(response)
        return response

    def _send(self, path: str, data: bytes, more: Mapping[str, str]) -> httpx.Response:
        import httpx

        headers = {"content-type": "application/octet-stream", "accept": f"{self._media_type}, */*;q=0"}
        headers |= {"accept": "application/json"} if path == "/predict" else {}
        try:
            return self._client.post(path, params=self._fields | dict(more), content=data, headers=headers)
        except httpx.HTTPError as error:
            raise RequestFailed("no_answer", f"no answer: {error or type(error).__name__}") from None


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise RequestFailed("file", "file not found" if not file.exists() else "not a regular file")
    return file.read_bytes()


def _pause(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text) if text.isascii() and text.isdigit() else 1.0, _LONGEST_PAUSE)


def _failure(response: httpx.Response) -> RequestFailed:
    """The service's error of a response."""
    try:
        error = response.json()["error"]
        return RequestFailed(str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        return RequestFailed("strange", f"status {response.status_code} without a readable error")
