"""Calls to lakeFS over its HTTP API: with a key, a time limit and few retries, and one kind of error."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from adapters.pictures.picture_options import PictureOptions
from lineage.errors import PicturesUnavailable

_API = "/api/v1"
#: Seconds before a call is repeated that the network or the server broke. Every call may be made twice.
_PAUSES = (0.1, 0.4)
#: Too many requests, a branch that somebody else changes, and a server or its own store that is away.
_TRANSIENT = frozenset((409, 429, 500, 502, 503, 504))
_KEY_REFUSED = {401: "it refuses the access key", 403: "the access key may not do this"}

Model = TypeVar("Model", bound=BaseModel)
Sleep = Callable[[float], None]


class LakefsError(BaseModel):
    """What lakeFS says of a refusal."""

    message: str


@dataclass(frozen=True, slots=True)
class LakefsCall:
    """One call below a repository. `expected` are the statuses that its caller looks at."""

    method: str
    path: str
    expected: tuple[int, ...]
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    content: bytes | None = None
    json: Mapping[str, Any] | None = None


class LakefsClient:
    """Calls for one repository. May be used by several threads."""

    def __init__(
        self, repository: str, endpoint: str, options: PictureOptions, sleep: Sleep = time.sleep
    ) -> None:
        self._name = f"lakefs://{repository}"
        self._seconds = options.seconds
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=f"{endpoint.rstrip('/').removesuffix(_API)}{_API}/repositories/{repository}",
            auth=httpx.BasicAuth(options.access_key, options.secret_key),
            timeout=httpx.Timeout(options.seconds, connect=min(options.seconds, 3)),
            # A redirect would carry the key elsewhere.
            follow_redirects=False,
            trust_env=False,
        )

    def call(self, call: LakefsCall) -> httpx.Response:
        """The answer, whose status is an expected one. Raises `PicturesUnavailable`."""
        until = time.monotonic() + self._seconds
        for pause in _PAUSES:
            outcome = self._once(call)
            if isinstance(outcome, httpx.Response) and not self._is_transient(call, outcome):
                return self._checked(call, outcome)
            if time.monotonic() + pause > until:
                break
            self._sleep(pause)
        else:
            outcome = self._once(call)
        if isinstance(outcome, httpx.Response):
            return self._checked(call, outcome)
        raise self._unavailable(outcome)

    def _once(self, call: LakefsCall) -> httpx.Response | str:
        """The answer, or why there is none."""
        try:
            return self._http.request(
                call.method,
                call.path,
                params=call.query,
                headers=call.headers,
                content=call.content,
                json=call.json,
            )
        except httpx.HTTPError as error:
            # Its text may hold what was sent.
            return f"it does not answer ({type(error).__name__})"

    def _is_transient(self, call: LakefsCall, answer: httpx.Response) -> bool:
        return answer.status_code in _TRANSIENT and answer.status_code not in call.expected

    def _checked(self, call: LakefsCall, answer: httpx.Response) -> httpx.Response:
        if answer.status_code in call.expected:
            return answer
        refused = _KEY_REFUSED.get(answer.status_code)
        raise self._unavailable(refused or f"{call.method} {call.path}: {reason_in(answer)}")

    def read(self, model: type[Model], answer: httpx.Response) -> Model:
        """The document of an answer. Raises `PicturesUnavailable` for one of another form."""
        try:
            return model.model_validate_json(answer.content)
        except ValidationError:
            raise self._unavailable(f"it answers something else than {model.__name__}") from None

    def _unavailable(self, problem: str) -> PicturesUnavailable:
        return PicturesUnavailable(f"{self._name} cannot be used: {problem}")

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


def reason_in(answer: httpx.Response) -> str:
    """Status and reason of a refusal, in one line."""
    try:
        message = LakefsError.model_validate_json(answer.content).message
    except ValidationError:
        message = ""
    return f"{answer.status_code} {message.strip().partition(chr(10))[0][:200]}".strip()
