"""Processes of a cluster that are killed, and what that costs.

A program is killed when the job's memory of its worker (plan/segment.h) says that it is at an instruction; where it was
then really is read from there when it is dead. The master says with times what it sees and does:

  detection       from the kill until it has given up the epoch (master: until a worker has noticed)
  recovery        from there until the next epoch runs (master: from its start)
  whole           steps that all programs had finished and that were done again
  begun           the same, with the one that was under way
"""
import json
import mmap
import os
import pathlib
import re
import signal
import statistics
import struct
import time

# As plan/stream.h numbers them.
OPCODES = ["acquire", "recv", "send", "release", "load", "forward", "backward", "backward_weight", "backward_part", "reduce_put", "reduce_sum", "reduce_get", "share_put",
           "share_get", "norm_gather", "norm_apply", "update", "eval"]
HEADER, GATE, STATUS = 256, 60, 320  # of plan/segment.h
EPOCH = re.compile(r"epoch (\d+) from step (\d+): ")


def name_of(opcode):
    return OPCODES[opcode] if 0 <= opcode < len(OPCODES) else "between"


class Memory:
    """The memory of the job that a worker runs, and none of programs that wait for their turn; it stays readable when all are dead."""

    def __init__(self, pid):
        self.map = None
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                if "stagecc-job" in os.readlink(fd):
                    with open(fd, "rb") as file:
                        memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
                    self.map = self.map if struct.unpack_from("<I", memory, GATE)[0] else memory
            except (OSError, ValueError):  # gone, or without a size yet
                continue
        assert self.map, f"process {pid} has no job's memory"
        (self.n_ranks,) = struct.unpack_from("<I", self.map, 12)

    def rank(self, rank):
        """Process, opcode, steps done."""
        pid, opcode, _, _, _, _, step = struct.unpack_from("<6iq", self.map, HEADER + rank * STATUS)
        return pid, opcode, step


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except OSError:
        return False


class Killer:
    def __init__(self, cluster):
        self.c = cluster
        self.rows = []

    def where(self, status):
        """Of each rank: number of its worker in the test (worker2 is 2), and its memory."""
        names = [w["name"] for w in status["workers"]]
        stages = sorted(status["plan"]["stages"], key=lambda s: s["rank"])
        workers = [int(names[s["worker"]].removeprefix("worker")) for s in stages]
        memories = {i: Memory(self.c.workers[i].pid) for i in set(workers)}
        return [(i, memories[i]) for i in workers]

    @staticmethod
    def aim(memory, rank, opcode, seconds=3):
        """Wait until it is there; False: it was not seen there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(500):
                if memory.rank(rank)[1] == opcode:
                    return True
        return False

    def settle(self):
        """No change of plan is under way, as after somebody has come: the epoch has been the same for two seconds."""
        seen = {}

        def same(s):
            since = seen.setdefault(s["epoch"], time.monotonic())
            return s["phase"] == "running" and time.monotonic() > since + 2

        return self.c.wait("it settles", same)

    def strike(self, kind, rank, opcode=None):
        """opcode None: at once. What was killed, where, and how far all were when it was noticed."""
        end = time.monotonic() + 60
        while True:
            status = self.settle() if kind == "master" else self.c.wait("it runs", lambda s: s["phase"] == "running")
            ranks = self.where(status)
            rank %= len(ranks)
            worker, memory = ranks[rank]
            if opcode is not None:
                self.aim(memory, rank, opcode)
            pid = {"program": memory.rank(rank)[0], "worker": self.c.workers[worker].pid, "master": self.c.master.pid}[kind]
            lost = self.lost_masters()
            at = time.time()
            if pid and alive(pid):  # else a change of plan has come in between
                break
            assert time.monotonic() < end, "nobody to kill"
        os.kill(pid, signal.SIGKILL)
        row = {"kind": kind, "rank": rank, "epoch": status["epoch"], "at": at}
        if kind == "master":
            row["where"] = name_of(memory.rank(rank)[1])
            self.master_back(row, lost)
        else:
            if kind == "worker":
                self.c.workers.pop(worker).wait()
            self.gone(memory.rank(rank)[0])
            row["where"] = name_of(memory.rank(rank)[1])
            self.measure(row, ranks)
            if kind == "worker":
                self.c.start_worker(worker)
        self.rows.append(row)
        return row

    @staticmethod
    def gone(pid):
        end = time.monotonic() + 5
        while alive(pid):
            assert time.monotonic() < end, f"{pid} lives"

    def measure(self, row, ranks):
        """By the times of the master's events."""

        def later(s, part):
            return [e for e in s["events"] if e["at"] >= row["at"] and part in e["text"]]

        s = self.c.wait("it runs again", lambda s: s["phase"] == "running" and s["epoch"] > row["epoch"] and later(s, " runs"), 120)
        ended, runs = later(s, "has ended behind step")[0]["at"], later(s, " runs")[0]["at"]
        row["detection"], row["recovery"] = ended - row["at"], runs - ended
        done = [memory.rank(r) for r, (_, memory) in enumerate(ranks)]
        epoch = next(m for e in s["events"] if (m := EPOCH.match(e["text"])) and int(m[1]) == row["epoch"] + 1)
        begin = int(epoch[2])
        row["whole"] = max(0, min(step for _, _, step in done) - begin)
        row["begun"] = max(0, max(step + (opcode >= 0) for _, opcode, step in done) - begin)
        row["stages"] = len(s["plan"]["stages"])
        row["story"] = [(round(e["at"] - row["at"], 3), e["text"]) for e in s["events"] if e["at"] >= row["at"]]

    def lost_masters(self):
        """How often workers have lost one so far."""
        return sum(f.read_text().count("lost the master") for f in self.c.folder.glob("worker*.log"))

    def master_back(self, row, lost):
        """Training goes on meanwhile; so nothing is repeated where its epoch goes on."""
        self.c.master.wait()
        while self.lost_masters() == lost:
            assert time.time() < row["at"] + 10, "nobody has lost the master"
            time.sleep(0.002)
        row["detection"] = time.time() - row["at"]
        begin = time.time()
        self.c.start_master()
        s = self.c.wait("it runs again", lambda s: s["phase"] == "running")
        row["recovery"] = next(e["at"] for e in s["events"] if " runs" in e["text"]) - begin
        row["whole"] = row["begun"] = 0 if s["epoch"] == row["epoch"] else -1
        assert s["epoch"] == row["epoch"], f"the master began another epoch: {s['events']}"

    def go_on(self, stages=None):
        """It runs (on so many of them), and two more steps are committed."""
        step = (self.c.wait_stages(stages) if stages else self.c.wait("it runs", lambda s: s["phase"] == "running"))["step"]
        self.c.wait_step(step + 2)

    def wait_for_plans(self, sizes, seconds=120):
        """Until programs for so many workers are built, and nothing else is being built."""
        plans = self.c.folder / "journal" / "plans"

        def built(_):
            names = [p.name for p in plans.glob("n*") if p.is_dir()]
            return sizes <= {int(n[1:].split("-")[0]) for n in names} and not any(n.endswith(".new") for n in names)

        self.c.wait(f"plans for {sizes} workers", built, seconds)


def table(rows, title):
    print(title)
    print(f"{'process':8} {'instruction':16} {'n':>4} {'whole':>6} {'begun':>6} {'detection ms':>18} {'recovery s':>18}")

    def line(kind, where, these):
        d, r = [1e3 * x["detection"] for x in these], [x["recovery"] for x in these]
        print(f"{kind:8} {where:16} {len(these):4} {max(x['whole'] for x in these):6} {max(x['begun'] for x in these):6} "
              f"{statistics.median(d):8.0f} max {max(d):5.0f} {statistics.median(r):8.2f} max {max(r):5.2f}")

    for kind in ("program", "worker", "master"):
        mine = [x for x in rows if x["kind"] == kind]
        for where in [*OPCODES, "between"]:
            if these := [x for x in mine if x["where"] == where]:
                line(kind, where, these)
        if mine:
            line(kind, "all", mine)
    if any(x["detection"] > 0.1 or x["recovery"] > 2 for x in rows):
        for x in rows:
            if x["detection"] > 0.1 or x["recovery"] > 2:
                print(f"  slow: {x}")
