"""Hosts whose links are cut or slow, and that stand still: they are noticed, others go on, and they come back.

  silence.py STAGECC FOLDER [SCENARIO ...]     within tests/long/silence.sh
"""
import collections
import fcntl
import os
import pathlib
import select
import signal
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from cluster import Cluster

STAGECC, FOLDER, *WANTED = sys.argv[1:]
DETECTED_S, DELAY_S = 3, 0.05


class Hosts(Cluster):
    """The master is on host 4, worker I on host I."""
    address = "10.77.0.4"

    def on_host(self, name, command):
        number = name.removeprefix("worker") if name.startswith("worker") else "4"
        return ["ip", "netns", "exec", f"h{number}", *command]


def link(number, state):
    subprocess.run(["ip", "link", "set", f"veth{number}", state], check=True)


class SlowLink:
    """Host 2's link becomes one whose frames are late: a pair of network devices, and this between them."""
    TUNSETIFF, TAP = 0x400454CA, 0x1002  # TAP without packet information

    def __init__(self, delay_s):
        self.delay_s = delay_s
        self.ends = [self.open("near2"), self.open("far2")]
        for line in ("ip link set veth2 down", "ip link set near2 master br0 up", "ip link set far2 netns h2", "ip -n h2 addr flush dev eth0", "ip -n h2 addr add 10.77.0.2/24 dev far2",
                     "ip -n h2 link set far2 up"):
            subprocess.run(line.split(), check=True)
        threading.Thread(target=self.carry, daemon=True).start()

    def open(self, name):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, self.TUNSETIFF, struct.pack("16sH", name.encode(), self.TAP))
        return fd

    def carry(self):
        late = collections.deque()
        while True:
            wait = max(0, late[0][0] - time.monotonic()) if late else 1
            for fd in select.select(self.ends, [], [], wait)[0]:
                late.append((time.monotonic() + self.delay_s, self.ends[fd == self.ends[0]], os.read(fd, 65536)))
            while late and late[0][0] <= time.monotonic():
                _, fd, frame = late.popleft()
                os.write(fd, frame)


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
    """Nobody is given up because what it says is late."""
    try:
        SlowLink(DELAY_S)
    except OSError as e:
        print(f"  slow: left out, no tunnel devices here: {e}")
    before = begin(c)
    s = c.wait_step(before["step"] + 12)
    assert s["epoch"] == before["epoch"], f"an epoch has ended: {s['events']}"
    print(f"  {1e3 * DELAY_S:.0f} ms each way: {12 / (s['now'] - before['now']):.1f} steps/s")


def master_cut(c):
    before = begin(c)
    link(4, "down")
    time.sleep(5)
    step = c.status()["step"]
    at = time.time()
    link(4, "up")
    s = c.wait_step(step + 3)
    print(f"  master cut off for 5 s at step {step}: three more steps {time.time() - at:.2f} s after")
    assert s["epoch"] == before["epoch"], f"another epoch has begun: {s['events']}"


STEPS = {"cut": 200, "zombie": 200, "slow": 50, "master_cut": 200}
SCENARIOS = {f.__name__: f for f in (cut, zombie, master_cut, slow)}  # slow is the last one: the link stays so


def main():
    like = None
    for name in WANTED or SCENARIOS:
        c = Hosts(STAGECC, pathlib.Path(FOLDER) / name, steps=STEPS[name], rehearse=50)
        try:
            c.start_master()
            SCENARIOS[name](c)
            c.wait_end(seconds=300)
            c.check()
            print(f"{name}: the same bits", flush=True)
        finally:
            c.stop()


main()
