"""Hosts whose links are cut or slow, and that stand still: they are noticed, others go on, and they come back.

  silence.py STAGECC FOLDER [SCENARIO ...]     within tests/long/silence.sh
"""
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from cluster import Cluster

STAGECC, FOLDER, *WANTED = sys.argv[1:]
DETECTED_S = 3


class Hosts(Cluster):
    """The master is on host 4, worker I on host I."""
    address = "10.77.0.4"

    def on_host(self, name, command):
        number = name.removeprefix("worker") if name.startswith("worker") else "4"
        return ["ip", "netns", "exec", f"h{number}", *command]


def link(number, state):
    subprocess.run(["ip", "link", "set", f"veth{number}", state], check=True)


def begin(c):
    for i in (1, 2, 3):
        c.start_worker(i)
    c.wait_stages(3)
    plans = c.folder / "journal" / "plans"
    c.wait("programs for two", lambda s: list(plans.glob("n2-*/plan.json")) and not list(plans.glob("*.new")))
    return c.wait_step(c.status()["step"] + 3)


def noticed(c, at, what):
    """Until others go on without it."""
    s = c.wait("two go on", lambda s: s["phase"] == "running" and len(s["plan"]["stages"]) == 2)
    later = [(e["at"] - at, e["text"]) for e in s["events"] if e["at"] >= at]
    ended = next(t for t, text in later if "has ended behind step" in text)
    decided = next(t for t, text in later if "2 stages on" in text)
    runs = next(t for t, text in later if " runs" in text and t > decided)
    print(f"  {what}: the epoch ended after {ended:.2f} s, the host was given up after {decided:.2f} s, two went on after {runs:.2f} s")
    assert decided <= DETECTED_S, later
    c.wait_step(s["step"] + 3)


def cut(c):
    begin(c)
    at = time.time()
    link(2, "down")
    noticed(c, at, "link down")
    at = time.time()
    link(2, "up")
    c.wait_stages(3)
    print(f"  link up: three again after {time.time() - at:.2f} s")


def zombie(c):
    begin(c)
    asleep = [c.workers[2].pid, *c.programs(2)]
    at = time.time()
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    noticed(c, at, "stopped")
    epoch = c.status()["epoch"]
    for pid in asleep:
        os.kill(pid, signal.SIGCONT)
    s = c.wait_stages(3)
    assert s["epoch"] == epoch + 1, f"it was disturbed: {s['events']}"


def slow(c):
    before = begin(c)
    subprocess.run(["tc", "qdisc", "add", "dev", "veth2", "root", "netem", "delay", "50ms"], check=True)
    try:
        s = c.wait_step(before["step"] + 12)
        assert s["epoch"] == before["epoch"], f"an epoch has ended: {s['events']}"
        print(f"  50 ms: {12 / (s['now'] - before['now']):.1f} steps/s")
    finally:
        subprocess.run(["tc", "qdisc", "del", "dev", "veth2", "root"], check=True)


def master_cut(c):
    before = begin(c)
    link(4, "down")
    time.sleep(5)
    step = c.status()["step"]
    at = time.time()
    link(4, "up")
    s = c.wait_step(step + 3)
    print(f"  master cut off for 5 s at step {step}: three more steps {time.time() - at:.2f} s after; epoch {before['epoch']}, then {s['epoch']}")
    c.wait_stages(3)


STEPS = {"cut": 400, "zombie": 400, "slow": 60, "master_cut": 150}
SCENARIOS = {f.__name__: f for f in (cut, zombie, slow, master_cut)}


def main():
    like = None
    for name in WANTED or SCENARIOS:
        c = Hosts(STAGECC, pathlib.Path(FOLDER) / name, steps=STEPS[name], rehearse=100)
        try:
            c.start_master()
            SCENARIOS[name](c)
            c.wait_end(300)
            c.check()
            print(f"{name}: the same bits", flush=True)
        finally:
            c.stop()


main()
