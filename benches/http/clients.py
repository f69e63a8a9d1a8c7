"""Clients of the HTTP server: requests at a rate, and streams of events. A process of its own."""

import asyncio
import json
import random
import sys
import time

# The requests that are sent, by how often.
PATHS = [
    ("/api/v1/queries/trends/rows?epoch=latest&order=-plays&limit=20", 4),
    ("/api/v1/queries/take_rate/rows?epoch=latest&order=-rate&limit=50", 3),
    ("/api/v1/epochs?limit=20", 3),
    ("/api/v1/job", 2),
    ("/api/v1/partitions", 1),
    ("/api/v1/ledger?epoch=latest", 1),
    ("/api/v1/queries/trends/rows.csv?epoch=latest&limit=1000", 1),
    ("/", 1),
]
CONNECTIONS = 32


class Results:
    def __init__(self):
        self.waits_s, self.errors, self.events = [], 0, 0


async def requests(address, rate: float, results: Results, is_over) -> None:
    """Sends requests over one connection, at its share of the rate."""
    reader, writer = await asyncio.open_connection(*address)
    paths, weights = zip(*PATHS)
    due = time.monotonic() + random.random() / rate
    while not is_over():
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        # What is late is counted from when it was due.
        path = random.choice([*paths, f"/api/v1/videos/{random.randrange(10**8)}"]) \
            if random.random() < 0.2 else random.choices(paths, weights)[0]
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        await reader.readexactly(length)
        results.waits_s.append(time.monotonic() - due)
        results.errors += not head.startswith("http/1.1 200")
        due += 1 / rate
    writer.close()


async def stream(address, number: int, results: Results, is_over) -> None:
    """Follows events; a third of the streams also asks for rows."""
    reader, writer = await asyncio.open_connection(*address)
    query = "?query=take_rate&limit=100" if number % 3 == 0 else ""
    writer.write(f"GET /api/v1/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    while not is_over():
        try:
            bytes_read = await asyncio.wait_for(reader.read(1 << 16), 1)
        except TimeoutError:
            continue
        if not bytes_read:
            break
        results.events += bytes_read.count(b"event: publication")
    writer.close()


async def main() -> None:
    host, port, rate, streams = sys.argv[1:]
    address, rate = (host, int(port)), float(rate)
    results, over = Results(), asyncio.Event()
    loop = asyncio.get_running_loop()
    # The end of the input is the end.
    loop.run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: over.set())
    began = time.monotonic()
    tasks = [requests(address, rate / CONNECTIONS, results, over.is_set) for _ in range(CONNECTIONS)]
    tasks += [stream(address, number, results, over.is_set) for number in range(int(streams))]
    await asyncio.gather(*tasks)
    waits = sorted(results.waits_s)
    seconds = time.monotonic() - began
    at = lambda share: waits[min(len(waits) - 1, int(share * len(waits)))] * 1e3
    print(json.dumps({
        "answers_per_s": len(waits) / seconds, "errors": results.errors,
        "wait_ms": {"p50": at(0.5), "p99": at(0.99), "max": at(1)},
        "events": results.events, "streams": int(streams),
    }))


asyncio.run(main())
