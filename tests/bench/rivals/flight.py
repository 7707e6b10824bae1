"""Arrow Flight: a server that has the data, and a client that fetches it over the loopback."""

from __future__ import annotations

import sys
import time

import inputs
import pyarrow as pa
import pyarrow.flight


class Server(pa.flight.FlightServerBase):
    """Serves one table, as often as it is asked for."""

    def __init__(self, table):
        super().__init__("grpc://127.0.0.1:0")
        self.table = table

    def do_get(self, _context, _ticket):
        return pa.flight.RecordBatchStream(self.table)


def serve(what, size):
    """Serve an array or a table until the input ends; tells where first."""
    data = inputs.made(what, size)
    server = Server(pa.table({"array": data}) if what == "array" else data)
    print(f"grpc://127.0.0.1:{server.port}", flush=True)
    sys.stdin.read()
    server.shutdown()
    return "ended"


def fetch(where):
    client = pa.flight.connect(where)
    client.wait_for_available(timeout=10)
    start = time.perf_counter()
    table = client.do_get(pa.flight.Ticket(b"")).read_all()
    value = table.column(0)[0].as_py()
    took = time.perf_counter() - start
    assert value is not None
    return took
