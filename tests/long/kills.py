"""SIGKILL to every process at every instruction of every schedule, then at random: it changes no bit, and what it costs.

  kills.py STAGECC SOURCE_DIR [SCHEDULE|random ...]
"""
import collections
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from cluster import OPTIONS, Cluster
from killing import OPCODES, Killer, name_of, table

STAGECC, SOURCE, *WANTED = sys.argv[1:]
SCHEDULES = ("1f1b", "gpipe", "zb-h1")
STEPS, LAST_STEPS = 500, 40  # a changed plan must still be worth it
RANDOM_KILLS = 200


def seen_opcodes(killer, seconds=3):
    """Of each rank, those that its program was seen at."""
    ranks = killer.where(killer.c.wait_stages(3))
    seen = collections.defaultdict(set)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for rank, (_, memory) in enumerate(ranks):
            opcode = memory.rank(rank)[1]
            if opcode >= 0:
                seen[opcode].add(rank)
    return seen


def every_kill(seen):
    """Each rank's program and worker at each opcode, and the master once for each."""
    kills = []
    for opcode, ranks in sorted(seen.items()):
        kills += [(kind, rank, opcode) for kind in ("program", "worker") for rank in sorted(ranks)]
        kills.append(("master", min(ranks), opcode))
    return kills


def one_run(folder, options, like, strikes, sizes={2, 3}, **more):
    """Strikes until there are no more, or too few steps are left. Its cluster and killer."""
    c = Cluster(STAGECC, folder, steps=STEPS, options=options, like=like, **more)
    killer = Killer(c)
    try:
        c.start_master()
        for i in (1, 2, 3):
            c.start_worker(i)
        killer.wait_for_plans(sizes)
        strikes(killer)
        c.wait_end(seconds=600)
        c.check()
    finally:
        c.stop()
    return c, killer


def has_steps(killer):
    return killer.c.status()["step"] < STEPS - LAST_STEPS


def schedule(folder, name):
    rows, first, todo = [], None, None

    def strikes(killer):
        nonlocal todo
        if todo is None:
            seen = seen_opcodes(killer)
            print(f"{name}: {', '.join(name_of(o) for o in sorted(seen))}")
            todo = every_kill(seen)
        while todo and has_steps(killer):
            killer.go_on(stages=3)
            killer.strike(*todo[0])
            todo.pop(0)

    for run in range(20):
        c, killer = one_run(folder / f"{name}{run}", [*OPTIONS, "--schedule", name], first, strikes, rehearse=60)
        first = first or c
        rows += killer.rows
        print(f"{name}: {len(killer.rows)} kills in {STEPS} steps, the same bits", flush=True)
        if not todo:
            break
    assert not todo, "that many runs have not been enough"
    table(rows, f"{name}, every instruction")
    return rows


def at_random(folder):
    """ResNet-18 on real data; what is killed, and when, is a matter of chance."""
    chance = random.Random(1)
    model = f"{SOURCE}/examples/resnet/resnet.c"
    options = ["-D", "DEPTH=18", "-D", "IMAGE=8", "-D", "CHANNELS=1", "-D", "CLASSES=10", "--batch", 8, "--micro-batches", 2, "--optimizer", "adam", "--lr", 0.001, "--isa", "avx2"]
    rows, first = [], None

    def strikes(killer):
        while len(rows) + len(killer.rows) < RANDOM_KILLS and has_steps(killer):
            killer.go_on()
            time.sleep(chance.uniform(0, 0.5))
            killer.strike(chance.choices(("program", "worker", "master"), (3, 2, 1))[0], chance.randrange(3))

    for run in range(40):
        c, killer = one_run(folder / f"random{run}", options, first, strikes, model=model, data=f"idx:{SOURCE}/examples/digits/train")
        first = first or c
        rows += killer.rows
        table(killer.rows, f"ResNet-18: {len(killer.rows)} kills in {STEPS} steps, the same bits")
        if len(rows) >= RANDOM_KILLS:
            break
    assert len(rows) >= RANDOM_KILLS
    table(rows, "ResNet-18, at random")
    return rows


def main():
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for name in WANTED or [*SCHEDULES, "random"]:
            rows += at_random(pathlib.Path(folder)) if name == "random" else schedule(pathlib.Path(folder), name)
        again = [r for r in rows if r["whole"] > 1]
        assert not again, f"more than one step was done again: {again}"


main()
