"""What requests cost a server: its CPU time, their latency, its memory."""

import http.client
import json
import os
import threading
import time
from pathlib import Path

# What is called flat, or linear: a cost that grows by less.
FLAT = 1.3
# And what is noise in the CPU time of a request, in milliseconds.
NOISE = 0.2
REQUESTS = 50


class Client:
    """Requests to a server over one connection, and what they cost it. Its CPU time is compared rather than
    the latency: other processes on the machine change that less."""

    def __init__(self, server):
        self.pid = server.process.pid
        self.connection = http.client.HTTPConnection(server.url.removeprefix("http://"))

    def send(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status >= 400:
            raise SystemExit(f"growth: {method} {path}: {response.status} {answer[:500].decode()}")
        return answer

    def get(self, path):
        return json.loads(self.send("GET", path))

    def post(self, path, value):
        return json.loads(self.send("POST", path, json.dumps(value), {"Content-Type": "application/json"}))

    def pages(self, path):
        """All pages of a list, 500 items each."""
        cursor, sign = "", "&" if "?" in path else "?"
        while cursor is not None:
            page = self.get(f"{path}{sign}limit=500" + (f"&cursor={cursor}" if cursor else ""))
            yield page["items"]
            cursor = page["next_cursor"]

    def cpu(self):
        """CPU seconds of the server, to the nanosecond, trainers excluded."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def trainers_cpu(self):
        """CPU seconds of the trainers that have ended."""
        user, system = Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()[13:15]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def rest(self):
        """Waits until the server has done what it does by itself after its start."""
        while True:
            before = self.cpu()
            time.sleep(0.5)
            if self.cpu() - before < 0.02:
                return

    def cost(self, work, times=REQUESTS):
        """CPU milliseconds of one call of `work`, and the median and 95th percentile of its duration."""
        work()
        took, before = [], self.cpu()
        for _ in range(times):
            started = time.perf_counter()
            work()
            took.append((time.perf_counter() - started) * 1e3)
        cpu = (self.cpu() - before) * 1e3 / times
        took.sort()
        return {"cpu_ms": cpu, "p50_ms": took[times // 2], "p95_ms": took[int(times * 0.95)]}


def memory(pid, field="Pss"):
    """MB of a process: its share of what it has in memory, or of that what is in no file (`Pss_Anon`)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{field}:"))


def children(pid):
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in read(file).split()]


def read(file):
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Peak:
    """The highest memory while the block runs, in MB: of the server, and of a trainer without its files."""

    def __init__(self, pid):
        self.pid, self.server, self.trainer, self.over = pid, 0, 0, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def watch(self):
        while not self.over.wait(0.1):
            self.server = max(self.server, memory(self.pid))
            trainers = [memory(child, "Pss_Anon") for child in children(self.pid)]
            self.trainer = max([self.trainer, *trainers])


class Table:
    """Costs by size. A row is `flat` (a cost per request that should not depend on the size), `linear` (one that
    should grow with it: it is compared by size), or neither (it is only shown)."""

    def __init__(self, title, unit):
        self.title, self.unit, self.sizes, self.rows = title, unit, [], {}

    def add(self, label, kind, cost, shown=None):
        """The cost at the newest size: what `Client.cost` says, or a number that is shown as `shown`; None if
        it was not measured."""
        noise = NOISE if isinstance(cost, dict) else 0
        row = self.rows.setdefault(label, {"kind": kind, "noise": noise, "costs": {}, "shown": {}})
        if cost is None:
            return
        value = cost["cpu_ms"] if isinstance(cost, dict) else cost
        row["costs"][self.sizes[-1]] = value
        detail = f"{cost['cpu_ms']:.2f} ({cost['p50_ms']:.2f} / {cost['p95_ms']:.2f})" if shown is None else shown
        row["shown"][self.sizes[-1]] = detail

    def ratio(self, row):
        """Of the cost at the largest size to that at the smallest, by size if it is to be linear."""
        sizes = list(row["costs"])
        if len(sizes) < 2 or not row["kind"]:
            return None
        growth = row["costs"][sizes[-1]] / row["costs"][sizes[0]]
        return growth / (sizes[-1] / sizes[0]) if row["kind"] == "linear" else growth

    def verdict(self, row):
        ratio = self.ratio(row)
        if ratio is None:
            return ""
        costs = list(row["costs"].values())
        grew = ratio > FLAT and costs[-1] - costs[0] > row["noise"]
        return f"**not {row['kind']}**" if grew else row["kind"]

    def print(self):
        print(f"\n### {self.title}\n\n| | {' | '.join(f'{size:,} {self.unit}' for size in self.sizes)} | ratio | |")
        print("|---|" + "---:|" * (len(self.sizes) + 1) + "---|")
        for label, row in self.rows.items():
            cells = [row["shown"].get(size, "") for size in self.sizes]
            ratio = self.ratio(row)
            shown = "" if ratio is None else f"{ratio:.2f}"
            print(f"| {label} | {' | '.join(cells)} | {shown} | {self.verdict(row)} |")

    def json(self):
        rows = {label: row | {"ratio": self.ratio(row)} for label, row in self.rows.items()}
        return {"title": self.title, "unit": self.unit, "sizes": self.sizes, "rows": rows}


def size_of(*files):
    return sum(os.path.getsize(file) for file in files if os.path.exists(file))
