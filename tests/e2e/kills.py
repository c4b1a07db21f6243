"""Processes killed with SIGKILL at instructions of a schedule: what it costs, and that it changes no bit.

  kills.py STAGECC SCHEDULE...

A few of each kind; tests/long/kills.py has all of them.
"""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cluster import OPTIONS, Cluster
from killing import OPCODES, Killer, table

KILLS = [("program", 0, "forward"), ("program", 1, "recv"), ("program", 2, "update"), ("worker", 1, "backward"), ("master", 0, "forward"), ("program", 0, "send"),
         ("worker", 0, "norm_gather"), ("master", 2, "update")]


def main():
    stagecc, *schedules = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for schedule in schedules:
            c = Cluster(stagecc, pathlib.Path(folder) / schedule, steps=400, rehearse=50, options=[*OPTIONS, "--schedule", schedule])
            killer = Killer(c)
            try:
                c.start_master()
                for i in (1, 2, 3):
                    c.start_worker(i)
                killer.wait_for_plans({2, 3})
                for kind, rank, opcode in KILLS:
                    killer.go_on()
                    killer.strike(kind, rank, OPCODES.index(opcode))
                c.wait_end(seconds=300)
                c.check()
            finally:
                c.stop()
            table(killer.rows, f"{schedule}: the same bits")
            assert max(row["whole"] for row in killer.rows) <= 1


main()
