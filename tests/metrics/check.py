#!/usr/bin/env python3
"""A real Prometheus scrapes a running job of two processes, with the configuration and the alert rules
of deploy/prometheus, and must answer every query of the dashboard with data. No alert may be raised.

    tests/metrics/check.py PROGRAM

Needs `prometheus` (a package of Debian), and says so where it is missing.
"""

import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# How long Prometheus may take until it has data for all queries, in seconds.
WAIT_MAX = 120
# The only metric that may be absent here: completeness is not known before 32 past epochs.
MAY_BE_ABSENT = "trendmark_open_epoch_completeness_ratio"


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def configuration(targets):
    """That of deploy/prometheus, with the addresses of this job and a shorter interval."""
    text = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    text = re.sub(r"_interval: \w+", "_interval: 1s", text)
    found = re.findall(r"localhost:\d+", text)
    assert len(found) == len(targets), found
    for old, new in zip(found, targets):
        text = text.replace(old, new)
    return text


def queries():
    """The queries of the dashboard, with their panels."""
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "10s")


class Prometheus:
    def __init__(self, folder, targets):
        [port] = free_ports(1)
        shutil.copy(ROOT / "deploy/prometheus/alerts.yml", folder)
        (folder / "prometheus.yml").write_text(configuration(targets))
        self.url = f"http://127.0.0.1:{port}/api/v1/"
        command = ["prometheus", f"--config.file={folder}/prometheus.yml"]
        command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
        self.log = open(folder / "prometheus.log", "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def get(self, path, **parameters):
        try:
            url = self.url + path + "?" + urllib.parse.urlencode(parameters)
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            sys.exit(f"{path} {parameters}: {error.read().decode()}")
        except OSError:
            return None

    def answer(self, query):
        data = self.get("query", query=query)
        return data["result"] if data else []


def start_job(program, folder, ports):
    """A generator that writes for some minutes, with junk, and a job of two processes that follow it."""
    feed = folder / "feed"
    generator = [program, "generate", "--out", feed, "--impressions", "1500000", "--rate", "5000"]
    generator += ["--bot-rate", "0.02", "--partitions", "2"]
    started = [subprocess.Popen(generator, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
    while not list(feed.glob("plays-*")) or not list(feed.glob("denials-*")):
        time.sleep(0.1)
    (folder / "hosts").write_text("".join(f"127.0.0.1:{port}\n" for port in ports[2:]))
    for process in range(2):
        command = [program, "run", "--follow", "--store", folder / "trends.db", "--query", "all"]
        for flag, log in [("impressions", "impressions"), ("plays", "plays"), ("denied", "denials")]:
            command += [f"--{flag}", f"{feed}/{log}-*"]
        command += ["--processes", "2", "--process", str(process), "--hostfile", folder / "hosts"]
        command += ["--http-address", f"127.0.0.1:{ports[0]}", "--epoch-length", "5m"]
        log = open(folder / f"job-{process}.log", "w")
        started.append(subprocess.Popen(command, stdout=log, stderr=log))
    return started


def check(program, folder):
    first = free_ports(1)[0]
    ports = [first, first + 1, *free_ports(2)]
    started = start_job(program, folder, ports)
    prometheus = Prometheus(folder, [f"127.0.0.1:{port}" for port in ports[:2]])
    started.append(prometheus.process)
    try:
        junk = next((folder / "feed").glob("plays-*")).with_name("plays-junk.jsonl")
        empty = [(panel, query) for panel, query in queries() if MAY_BE_ABSENT not in query]
        began = time.monotonic()
        while empty and time.monotonic() - began < WAIT_MAX:
            with open(junk, "a") as file:
                file.write("no event\n")
            time.sleep(1)
            for process in started[1:]:
                if process.poll() is not None:
                    sys.exit(f"{process.args} has ended: {(folder / 'job-0.log').read_text()}")
            empty = [(panel, query) for panel, query in empty if not prometheus.answer(query)]
        up = prometheus.answer('up{job="trendmark"} == 1')
        assert len(up) == 2, up
        rules = prometheus.get("rules")["groups"][0]["rules"]
        broken = [rule["name"] for rule in rules if rule["health"] != "ok"]
        assert not broken, broken
        alerts = prometheus.answer('ALERTS{alertstate="firing"}')
        assert not alerts, alerts
        if empty:
            sys.exit("".join(f"no data for `{panel}`: {query}\n" for panel, query in empty))
        seconds = time.monotonic() - began
        absent = [query for _, query in queries() if MAY_BE_ABSENT in query]
        number = len(list(queries())) - len(absent)
        print(f"{number} queries of the dashboard have data after {seconds:.0f} s, no alert")
        print(f"not checked: {', '.join(absent)}")
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    if shutil.which("prometheus") is None:
        sys.exit("SKIPPED: this check needs `prometheus` (apt-get install prometheus)")
    with tempfile.TemporaryDirectory() as place:
        check(sys.argv[1], pathlib.Path(place))
