"""A load generator over gRPC, in a process of its own: its cost shows apart from the service's.

usage: python -m benchmarks.rpc_client ADDRESS METHOD CONCURRENCY SECONDS FOLDER
It sends the requests in the folder, already serialised, in turn, and prints what it saw as JSON. A method
whose name ends with `Batch` answers with a stream.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import grpc


class Caller(threading.Thread):
    """One connection that calls as soon as the answer before has come."""

    def __init__(self, address: str, method: str, requests: Iterator[bytes], until: float) -> None:
        super().__init__()
        # Without its own pool all channels of a process would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options)
        several = method.endswith("Batch")
        self._call = self._channel.unary_stream(method) if several else self._channel.unary_unary(method)
        self._several = several
        self._requests = requests
        self._until = until
        self.milliseconds: list[float] = []
        self.answers = 0
        self.failed = 0

    def run(self) -> None:
        """Call until the time is up."""
        while (begun := time.monotonic()) < self._until:
            try:
                answer = self._call(next(self._requests), timeout=30)
                self.answers += sum(1 for _ in answer) if self._several else 1
            except grpc.RpcError:
                self.failed += 1
            else:
                self.milliseconds.append((time.monotonic() - begun) * 1e3)
        self._channel.close()


def main(address: str, method: str, concurrency: str, seconds: str, folder: str) -> None:
    """Call, and print rate, latencies, own processor time and failures."""
    requests = [each.read_bytes() for each in sorted(Path(folder).iterdir())]
    begun, count = time.monotonic(), int(concurrency)
    turns = [cycle(requests[at % len(requests) :] + requests[: at % len(requests)]) for at in range(count)]
    callers = [Caller(address, method, turn, begun + float(seconds)) for turn in turns]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    took = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "milliseconds": [one for caller in callers for one in caller.milliseconds],
                "answers": sum(caller.answers for caller in callers),
                "seconds": took,
                "cpu_seconds": used.ru_utime + used.ru_stime,
                "failed": sum(caller.failed for caller in callers),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
