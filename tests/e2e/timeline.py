"""The timeline of a real job: what the master's page tells of its ranks is what a pipeline can do, and a browser shows it. Clocks
of several machines are those of time namespaces here.

  timeline.py STAGECC [PICTURE]
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from browser import boxes, browse
from cluster import Cluster

MICRO_BATCHES = 4
ROUNDED_MS = 2e-3  # times are told in whole microseconds
APART_S, WITHIN_MS = 100000, 1000  # clocks; what may be left of that, on machines that have other things to do
WORK = {"load", "forward", "backward", "norm_gather", "norm_apply", "update"}
MESSAGES = {"acquire", "recv", "send", "release"}


def of(rank, kind):
    """{micro-batch: (begin, end)}; each comes once."""
    found = {s[1]: (s[2], s[3]) for s in rank["spans"] if s[0] == kind}
    assert len(found) == sum(s[0] == kind for s in rank["spans"]), f"{kind} twice: {rank}"
    return found


def check_rank(rank, stage):
    """Everything that a rank must do, one after the other, within its step; and as long as --rehearse makes it last."""
    at = rank["begin_ms"]
    for kind, mb, begin, end in rank["spans"]:
        assert kind in WORK | MESSAGES | {"wait_master"} or kind[:5] == "wait_" and kind[5:] in WORK | MESSAGES, kind
        assert at <= begin + ROUNDED_MS and begin <= end, f"{kind} {mb} overlaps what is before it: {rank}"
        at = end
    assert at <= rank["end_ms"] + ROUNDED_MS, f"behind the end of the step: {rank}"
    for kind in "forward", "backward":
        assert of(rank, kind).keys() == set(range(MICRO_BATCHES)), f"{kind}: {rank}"
    assert rank["spans"][-1][0] == "update" and len(of(rank, "update")) >= 1, rank
    worked = sum(s[3] - s[2] for s in rank["spans"] if s[0] in WORK)
    assert worked >= 999 * stage["predicted_s"], f"{worked} ms of work, {stage['predicted_s']} s at least"


def check_order(ranks, within_ms):
    """Nothing is received before it was sent."""
    for before, behind in zip(ranks, ranks[1:]):
        for mb in range(MICRO_BATCHES):
            assert of(before, "forward")[mb][1] <= of(behind, "forward")[mb][0] + within_ms, f"forward {mb}: {ranks}"
            assert of(behind, "backward")[mb][1] <= of(before, "backward")[mb][0] + within_ms, f"backward {mb}: {ranks}"
    waits = sum(s[3] - s[2] for s in ranks[0]["spans"] if s[0] == "wait_recv")
    assert waits > 0, f"stage 0 does not wait for gradients: {ranks[0]}"


def page_of(c):
    return re.search(r"status page at (\S+)", c.log("master").read_text())[1]


def ask(page):
    with urllib.request.urlopen(page + "status.json") as answer:
        return json.load(answer)


def check_steps(c, n_stages, n_steps, clocks=1):
    """Several steps, while it trains."""
    page, seen, end = page_of(c), set(), time.monotonic() + 60
    while len(seen) < n_steps:
        assert time.monotonic() < end, f"{n_stages} stages, timelines of steps {sorted(seen)}\n{c.all_logs()}"
        time.sleep(0.1)
        status = ask(page)
        timeline, stages = status["timeline"], status["plan"]["stages"]
        if not timeline or timeline["step"] in seen or len(timeline["ranks"]) != n_stages:
            continue
        assert timeline["step"] <= status["step"] + 2 and timeline["step"] > max(seen, default=0), (timeline["step"], status["step"], seen)
        assert timeline["clocks"] == clocks and [r["rank"] for r in timeline["ranks"]] == list(range(n_stages))
        assert min(r["begin_ms"] for r in timeline["ranks"]) == 0
        for rank, stage in zip(timeline["ranks"], stages):
            check_rank(rank, stage)
        check_order(timeline["ranks"], ROUNDED_MS if clocks == 1 else WITHIN_MS)
        seen.add(timeline["step"])
    print(f"{n_stages} stages, {clocks} clocks: timelines of steps {sorted(seen)}")


def check_shown(folder, page, n_stages, picture):
    dom, complaints, _ = browse(folder, page, "--dump-dom")
    assert not complaints, complaints
    drawn = boxes(dom)
    assert drawn.keys() == set(range(n_stages)), f"{drawn.keys()}: {dom}"
    for rank, row in drawn.items():
        assert len(row["forward"]) == len(row["backward"]) == MICRO_BATCHES and row["update"], (rank, row)
        (left, _, width, _), = row.pop("window")
        work = sorted(b for kind, all in row.items() for b in all if kind not in ("rest", "wait", "leave"))
        assert all(b[0] + b[2] <= later[0] + .7 for b, later in zip(work, work[1:])), f"boxes of rank {rank} overlap: {work}"
        assert left - .1 <= work[0][0] and work[-1][0] + work[-1][2] <= left + width + .7, f"rank {rank} works outside its step: {work}"
    assert re.search(r'id="timeline-step"[^>]*>step \d+ · [\d.]+ m?s<', dom), dom
    if picture:
        browse(folder, page, "--hide-scrollbars", "--window-size=1440,1300", "--screenshot=" + picture)
    print("a browser shows it")


class Apart(Cluster):
    """worker2 has another clock."""
    def on_host(self, name, command):
        return ["unshare", "--time", "--kill-child", "--monotonic", str(APART_S), *command] if name == "worker2" else command


def cluster(kind, folder, n, like=None):
    c = kind(stagecc, pathlib.Path(folder) / kind.__name__, steps=100000, data="synthetic:96", rehearse=100, workers=(1, 3), more=["--page", "127.0.0.1:0"], like=like)
    jobs.append(c)
    c.start_master()
    for i in range(1, n + 1):
        c.start_worker(i)
    c.wait_stages(n)
    return c


stagecc, picture = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
jobs = []
with tempfile.TemporaryDirectory() as folder:
    try:
        job = cluster(Cluster, folder, 3)
        check_steps(job, 3, 3)
        if shutil.which("chromium"):
            check_shown(folder, page_of(job), 3, picture)
        job.rescale("-n", 2)
        job.wait_stages(2)
        check_steps(job, 2, 1)
        job.stop()
        if subprocess.run(Apart.on_host(None, "worker2", ["true"]), capture_output=True).returncode:
            print("no time namespaces here: clocks of several machines are not tried")
        else:
            check_steps(cluster(Apart, folder, 2, job), 2, 2, clocks=2)
    finally:
        for job in jobs:
            job.stop()
