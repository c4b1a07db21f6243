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
from cluster import Cluster, losses, words
from killing import EPOCH, Killer


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
    for i in (1, 2, 3):
        assert "programs of the next plan wait" in c.log(f"worker{i}").read_text(), f"worker{i} was never warm"


def program_killed(c):
    undisturbed(c)
    for i in (1, 2, 3):
        step = c.wait_step(3 * i)["step"]
        os.kill(c.programs(i)[0], signal.SIGKILL)
        c.wait_step(step + 2)


def warm_program_killed(c):
    """One that waits for its turn is gone when that comes; the master has heard before that it is warm."""
    undisturbed(c)
    c.wait_step(4)
    run = {p for i in c.workers for p in c.programs(i)}
    logs = {i: len(c.log(f"worker{i}").read_text()) for i in c.workers}
    c.rescale("-n", 2)

    def warm(i):
        return [p for p in c.programs(i) if p not in run]

    end = time.monotonic() + 60
    while sum(len(warm(i)) for i in c.workers) < 2:
        assert time.monotonic() < end, "no programs of the next plan"
    os.kill(c.master.pid, signal.SIGSTOP)
    for i in c.workers:
        while warm(i) and "programs of the next plan wait" not in c.log(f"worker{i}").read_text()[logs[i]:]:
            assert time.monotonic() < end, c.all_logs()
            time.sleep(0.001)
    gone = next(p for i in c.workers for p in warm(i))
    os.kill(gone, signal.SIGKILL)
    Killer.gone(gone)
    os.kill(c.master.pid, signal.SIGCONT)
    c.wait_stages(2)
    assert all(w.poll() is None for w in c.workers.values()), c.all_logs()


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


def repeats(c, change, begun=True):
    """Steps that were begun, or ended, and are done again in the epoch that follows by what `change` does."""
    before = c.wait("it runs", lambda s: s["phase"] == "running")
    ranks = Killer(c).where(before)
    change()
    s = c.wait("the next epoch", lambda s: s["phase"] == "running" and s["epoch"] > before["epoch"])
    done = [memory.rank(rank) for rank, (_, memory) in enumerate(ranks)]
    begin = next(int(m[2]) for e in s["events"] if (m := EPOCH.match(e["text"])) and int(m[1]) == before["epoch"] + 1)
    return max(step + (begun and opcode >= 0) for _, opcode, step in done) - begin


def fourth(c):
    """One more joins and is used, another one leaves, and no step is done twice for it."""
    for i in (1, 2, 3):
        c.start_worker(i)
    c.wait_stages(3)
    c.wait_step(4)
    again = repeats(c, lambda: (c.start_worker(4), c.rescale("-n", 4)))
    c.wait_stages(4)
    c.wait_step(c.status()["step"] + 3)
    again += repeats(c, lambda: c.rescale("--drain", "worker1"))
    c.wait("worker1 has left", lambda s: c.workers[1].poll() == 0)
    c.wait_stages(3)
    assert again == 0, f"{again} steps were done again"


def copied_seldom(c):
    """Not every state is copied: a program costs a step at most all the same, a worker those since the last copy."""
    undisturbed(c)
    c.wait("a step that is not copied", lambda s: s["step"] > s["committed"] > 0)
    for i in (1, 2, 3):
        c.wait_step(c.status()["step"] + 2)
        again = repeats(c, lambda: os.kill(c.programs(i)[0], signal.SIGKILL), begun=False)
        assert again <= 1, f"{again} steps were done again, and no worker was lost"
    c.wait_step(c.status()["step"] + 2)
    c.workers.pop(2).kill()
    c.wait_stages(2)
    c.start_worker(2)
    c.wait_stages(3)


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


def stopped(c):
    """Training ends in good order, a few steps later, and another job goes on from what it has saved."""
    for by_signal in (True, False):
        undisturbed(c)
        step = c.wait_step(c.status()["step"] + 3)["step"]
        if by_signal:
            c.master.terminate()
        else:
            c.rescale("--stop")
        c.wait_end(130)
        saved = sorted((c.folder / "saved").glob("step-*"))[-1]
        last = int(saved.name.split("-")[1])
        assert step + 3 <= last <= step + 20 and max(losses(c.log_json)) == last, (step, saved)
        c.more = words(*c.more[:2], "--resume", f"saved/{saved.name}", "--journal", f"journal{last}", "--profile", "journal/profile")
        c.log_json.rename(c.folder / f"log-{last}.json")
        c.start_master()
    undisturbed(c)
    c.wait_end()
    parts = [f.read_text() for f in sorted(c.folder.glob("log-*.json"))] + [c.log_json.read_text()]
    c.log_json.write_text("".join(parts))


# The first one builds the programs of two and three stages for all others.
SCENARIOS = {f.__name__: f for f in (rescale, program_killed, warm_program_killed, worker_killed, copied_seldom, master_killed, joins_and_leaves, worker_stands_still, stopped, fourth)}
LONG = ("fourth",)
ENDLESS = 100000  # steps: a scenario ends when it has seen what it is for


def main():
    stagecc, *names = sys.argv[1:]
    first = None
    with tempfile.TemporaryDirectory() as folder:
        for name in names or [n for n in SCENARIOS if n not in LONG]:
            scenario = SCENARIOS[name]
            every = os.environ.get("COPY_EVERY", 3 if scenario == copied_seldom else 1)
            c = Cluster(stagecc, pathlib.Path(folder) / name, steps=60 if scenario == stopped else ENDLESS, workers=(1, 4 if scenario == fourth else 3), keys=5,
                        rehearse=int(os.environ.get("REHEARSE", 100)), like=first, more=words("--copy-every", every))
            begin = time.monotonic()
            try:
                c.start_master()
                scenario(c)
                if scenario != stopped:
                    c.finish()
                c.check()
                print(f"{name}: the same bits, {time.monotonic() - begin:.0f} s", flush=True)
            finally:
                c.stop()
            first = first or c


main()
