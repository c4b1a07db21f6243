"""What the master costs a training that nobody disturbs: copies of all states to a neighbour, heartbeats, reports, metrics.

  snapshots.py [--image N] [--rounds N] [--steps N] [--copy-every S ...]

Pairs of ResNet-152 on digits, batch 32, SGD with momentum, three stages on three machines (this one, three times): under a
master with its page, and the same programs by `stagecc run --hostfile`, whose messages take the same way. Each figure is
the median time of a step; the ratio is taken round by round.
"""
import argparse
import os
import pathlib
import statistics
import sys
import tempfile
import time

import common

sys.path.insert(0, str(common.SOURCE / "tests" / "e2e"))
import fake_ssh
from cluster import Cluster, free_port, words

BATCH, SKIP = 32, 4  # and three copies: memory is touched for the first time by them
DATA = f"idx:{common.SOURCE}/examples/digits/train"


def cluster(folder, options, more, like=None):
    c = Cluster(common.STAGECC, folder, model=common.SOURCE / "examples/resnet/resnet.c", steps=100000, data=DATA, options=options, workers=(3, 3), more=more, like=like)
    c.ask_every_s = 0.5  # to ask takes time of the processors, too
    c.start_master()
    for i in (1, 2, 3):
        c.start_worker(i)
    c.wait_stages(3, 900)
    return c


def under_master(folder, options, more, steps, skip, like):
    c = cluster(folder, options, more, like)
    try:
        while c.builds():
            time.sleep(0.5)
        first = c.status()["step"] + skip
        while (s := c.status())["step"] < first + steps:
            time.sleep(2)
        times = {step: at for step, _, _, at in s["history"]}
        epochs = s["epoch"]
        # Of what is committed together, each step took its share.
        known = sorted(step for step in times if first <= step <= first + steps)
        each = [(times[b] - times[a]) / (b - a) for a, b in zip(known, known[1:])]
        mean = (times[known[-1]] - times[known[0]]) / (known[-1] - known[0])
        return statistics.median(each), mean, s["plan"]["name"], epochs
    finally:
        c.stop()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--image", type=int, default=8)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--steps", type=int, default=24)
    a.add_argument("--copy-every", type=int, nargs="+", default=[1])
    o = a.parse_args()
    options = words("-D", "DEPTH=152", "-D", f"IMAGE={o.image}", "-D", "CHANNELS=1", "-D", "CLASSES=10", "--batch", BATCH, "--micro-batches", 4, "--optimizer", "sgd", "--momentum", 0.9, "--lr", 0.01)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        first = cluster(folder / "first", options, [])
        name = first.status()["plan"]["name"]
        while first.builds():
            time.sleep(0.5)
        first.stop()
        hosts = folder / "hosts"
        hosts.write_text("h1\nh2\nh3\n")
        os.environ.update(STAGECC_SSH=str(fake_ssh.put(folder / "shell", fake_ssh.SSH)), UCX_NET_DEVICES="lo")
        common.run([common.STAGECC, "deploy", first.folder / "journal/plans" / name, "--hostfile", hosts])
        rows = {s: [] for s in o.copy_every}
        for r in range(o.rounds):
            for s in o.copy_every:
                rates = common.step_rates(first.folder / "journal/plans" / name, "--hostfile", hosts, "--data", DATA, "--steps", o.steps + SKIP, skip=SKIP)
                alone = statistics.median(BATCH / rate for rate in rates)
                alone_mean = statistics.mean(BATCH / rate for rate in rates)
                more = ["--page", f"127.0.0.1:{free_port()}", *(["--copy-every", s] if s > 1 else [])]
                median, mean, plan, epochs = under_master(folder / f"{s}-{r}", options, more, o.steps, max(SKIP, 3 * s), first)
                rows[s].append((alone, median, mean / alone_mean))
                print(f"copies every {s}: {1e3 * alone:7.0f} ms alone, {1e3 * median:7.0f} ms with a master: {median / alone:.3f}; means {mean / alone_mean:.3f}{'' if plan == name and epochs == 1 else f' (plan {plan}, epoch {epochs})'}", flush=True)
        for s, row in rows.items():
            print(f"copies every {s}: {100 * (statistics.median(m / a for a, m, _ in row) - 1):+.1f} % (medians of steps), {100 * (statistics.median(mean for *_, mean in row) - 1):+.1f} % (means)")


main()
