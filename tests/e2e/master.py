"""A master and workers that come, go and die: the losses and the last checkpoint of a run that nobody disturbed.

  master.py STAGECC SCENARIO...
"""
import os
import pathlib
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cluster import Cluster


def undisturbed(c):
    for i in (1, 2, 3):
        c.start_worker(i)
    c.wait_stages(3)


def rescale(c):
    """By command to two workers, and back to three."""
    undisturbed(c)
    c.wait_step(5)
    c.rescale("-n", 2)
    c.wait_stages(2)
    c.rescale("-n", 3)
    c.wait_stages(3)


def program_killed(c):
    undisturbed(c)
    for i in (1, 2, 3):
        step = c.wait_step(3 * i)["step"]
        os.kill(c.programs(i)[0], signal.SIGKILL)
        c.wait_step(step + 2)


def worker_killed(c):
    """What it held is with its neighbour; it comes back later."""
    undisturbed(c)
    c.wait_step(4)
    c.workers.pop(2).kill()
    c.wait_stages(2)
    c.start_worker(2)
    c.wait_stages(3)


def master_killed(c):
    undisturbed(c)
    for step in (4, 9):
        c.wait_step(step)
        c.master.kill()
        c.master.wait()
        time.sleep(0.5)
        c.start_master()


def joins_and_leaves(c):
    """Joined workers are used where that pays, which takes enough steps."""
    c.start_worker(1)
    c.wait_stages(1)
    c.start_worker(2)
    c.wait_stages(2)
    c.start_worker(3)
    c.wait_stages(3)
    c.rescale("--drain", "worker1")
    c.wait("worker1 has left", lambda s: c.workers[1].poll() == 0)
    c.wait_stages(2)


def worker_stands_still(c):
    """It wakes up when others do its work, and disturbs nobody."""
    undisturbed(c)
    c.wait_step(4)
    asleep = [c.workers[2].pid, *c.programs(2)]
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    c.wait_stages(2)
    step = c.status()["step"]
    for pid in asleep:
        os.kill(pid, signal.SIGCONT)
    c.wait_step(step + 2)
    c.wait_stages(3)


STEPS = {"rescale": 200, "joins_and_leaves": 200, "worker_killed": 150, "worker_stands_still": 150}
SCENARIOS = {f.__name__: f for f in (undisturbed, rescale, program_killed, worker_killed, master_killed, joins_and_leaves, worker_stands_still)}


def main():
    stagecc, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for name in names or SCENARIOS:
            c = Cluster(stagecc, pathlib.Path(folder) / name, steps=STEPS.get(name, 40), rehearse=int(os.environ.get("REHEARSE", 100)))
            try:
                c.start_master()
                SCENARIOS[name](c)
                c.wait_end()
                c.check()
                print(f"{name}: the same bits")
            finally:
                c.stop()


main()
