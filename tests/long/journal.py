"""A master that is killed before, in and after each write of its journal, and started again: nothing is lost, nothing told twice.

  journal.py STAGECC LIBKILL_MASTER [FROM_CALL]
"""
import pathlib
import signal
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from cluster import Cluster

STAGECC, KILL = sys.argv[1:3]
FROM = int(sys.argv[3]) if len(sys.argv) > 3 else 1
STEPS = 8


def run(folder, like, nth, when):
    """The journal's calls, where the master was not killed."""
    c = Cluster(STAGECC, folder, steps=STEPS, rehearse=5, workers=(2, 2), like=like)
    try:
        c.start_master(LD_PRELOAD=KILL, KILL_NTH=str(nth), KILL_WHEN=when, KILL_COUNT=str(folder / "calls"))
        for i in (1, 2):
            c.start_worker(i)
        status = c.master.wait(120)
        assert status in (0, -signal.SIGKILL), c.all_logs()
        if status:
            c.start_master()
        c.wait_end()
        c.check()
        return c, "" if status else (folder / "calls").read_text()
    finally:
        c.stop()


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        first, calls = run(folder / "alone", None, 1 << 30, "before")
        print(f"{len(calls)} calls: {calls}")
        n = 0
        for nth, call in list(enumerate(calls, 1))[FROM - 1:]:
            for when in ("before", "torn") if call == "w" else ("before", "after"):
                try:
                    _, lived = run(folder / f"{nth}{when}", first, nth, when)
                except AssertionError as e:
                    raise AssertionError(f"killed {when} call {nth}: {e}") from e
                assert not lived or nth > len(calls) - 2, f"call {nth} was never made"
                n += not lived
        print(f"{n} kills, the same bits after each")


main()
