"""Pictures asked about over gRPC: what all servicers with messages of their own do alike."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from hotswap.dataplane import DataPlane
from hotswap.errors import ServingError

logger = logging.getLogger("bentoml.okawari.rpc")


class Call(Protocol):
    """What a servicer uses of the context that gRPC gives it."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None where there is none."""
        ...

    def set_trailing_metadata(self, metadata: Any) -> None:
        """What is sent with the status."""
        ...

    async def write(self, message: Any) -> None:
        """Send one message of the answer; waits while the caller takes none."""
        ...


@dataclass(frozen=True, slots=True)
class Pictures:
    """The data plane, and the rules by which it is asked.

    `seconds` is the most that one picture may take, whatever the caller's deadline; `refused` counts and
    logs a picture that was not answered: request id, model asked for, why, after how many seconds.
    `in_flight` is how many pictures of one streaming call are under way at once.
    """

    data_plane: DataPlane
    seconds: float
    refused: Callable[[str, str | None, ServingError, float], None]
    in_flight: int = 8

    def deadline(self, call: Call) -> float:
        """The moment of `time.monotonic()` by which a picture of a stream is due that comes now."""
        left = call.time_remaining()
        return time.monotonic() + (self.seconds if left is None else min(self.seconds, left))

    @contextmanager
    def counting(self, request_id: str, model: str | None) -> Iterator[None]:
        """Count and log it when what is done here is refused."""
        begun = time.perf_counter()
        try:
            yield
        except ServingError as error:
            self.refused(request_id, model, error, time.perf_counter() - begun)
            raise


def meaning(error: Exception, request_id: str) -> ServingError:
    """What a caller is told of any error; the log has the trace of one that is the service's own fault."""
    if isinstance(error, ServingError):
        return error
    logger.error("request %s", request_id, exc_info=error)
    return ServingError("something went wrong in the service; its log has the request id")
