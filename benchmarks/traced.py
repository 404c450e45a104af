"""A service that sends traces to a collector, against the same one that does not, in turn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.figures import Spread
from benchmarks.serving import HOST, Service
from benchmarks.steady import Loaded, load

CONCURRENCY = (1, 16)
#: Takes what comes and keeps nothing, in a process of its own, as a collector on another machine.
_COLLECTOR = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(slots=True)
class TracedResult:
    """One concurrency: what each service did in each round."""

    concurrency: int
    plain: list[Loaded] = field(default_factory=list)
    traced: list[Loaded] = field(default_factory=list)

    def of_plain(self, figure: Callable[[Loaded], float]) -> Spread:
        """A figure of the traced service as a share of the other's, in the same round."""
        pairs = zip(self.traced, self.plain, strict=True)
        return Spread.of([figure(traced) / figure(plain) for traced, plain in pairs])

    @property
    def more_cpu_ms(self) -> Spread:
        """The processor time that tracing costs, for one answer."""
        pairs = zip(self.traced, self.plain, strict=True)
        return Spread.of([traced.cpu_ms - plain.cpu_ms for traced, plain in pairs])

    @property
    def failed(self) -> int:
        """Answers other than 200."""
        return sum(one.load.failed for one in (*self.plain, *self.traced))


@contextmanager
def collector() -> Iterator[str]:
    """The address of a collector that runs until the block ends."""
    command = [sys.executable, "-c", _COLLECTOR]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            yield f"http://{HOST}:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def measure(
    plain: Service,
    traced: Service,
    pictures: Sequence[bytes],
    *,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> list[TracedResult]:
    """Load both, one after the other; which comes first changes with each round."""
    results = [TracedResult(concurrency) for concurrency in CONCURRENCY]
    for number in range(rounds):
        for result in results:
            turns = [(plain, result.plain), (traced, result.traced)]
            for service, runs in turns if number % 2 == 0 else reversed(turns):
                runs.append(load(service, pictures, result.concurrency, seconds))
            tell(f"concurrency {result.concurrency}")
    return results
