"""A load generator over gRPC, in a process of its own: its cost shows apart from the service's.

usage: python -m benchmarks.rpc_client ADDRESS METHOD CONCURRENCY SECONDS REQUEST_FILE
It sends one request, already serialised, again and again, and prints what it saw as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from pathlib import Path

import grpc


class Caller(threading.Thread):
    """One connection that calls as soon as the answer before has come."""

    def __init__(self, address: str, method: str, data: bytes, until: float) -> None:
        super().__init__()
        # Without its own pool all channels of a process would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options)
        self._call = self._channel.unary_unary(method)
        self._data = data
        self._until = until
        self.milliseconds: list[float] = []
        self.failed = 0

    def run(self) -> None:
        """Call until the time is up."""
        while (begun := time.monotonic()) < self._until:
            try:
                self._call(self._data, timeout=30)
            except grpc.RpcError:
                self.failed += 1
            else:
                self.milliseconds.append((time.monotonic() - begun) * 1e3)
        self._channel.close()


def main(address: str, method: str, concurrency: str, seconds: str, file: str) -> None:
    """Call, and print rate, latencies, own processor time and failures."""
    data, begun = Path(file).read_bytes(), time.monotonic()
    callers = [Caller(address, method, data, begun + float(seconds)) for _ in range(int(concurrency))]
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
                "seconds": took,
                "cpu_seconds": used.ru_utime + used.ru_stime,
                "failed": sum(caller.failed for caller in callers),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
