"""Workers with --device cuda train what a master builds with --backend cuda: the losses and the last checkpoint of one program
that runs alone. A worker of the other kind is refused, and each program knows its device's number on its host.

  cuda_workers.py STAGECC SOURCE_DIR
"""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cluster import Cluster

STAGECC, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
OPTIONS = ["--backend", "cuda", "--batch", 40, "--micro-batches", 4, "--clip-norm", 1]


def cards(pids):
    """Which devices programs were told to take."""
    found = []
    for pid in pids:
        environment = pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")
        found += [e.split("=")[1] for e in environment if e.startswith("STAGECC_CARD=")]
    return sorted(found)


def refused(c, i, text, *more):
    process = c.start_worker(i, *more)
    assert process.wait(30) == 2, f"{process.returncode}\n{c.all_logs()}"
    del c.workers[i]
    assert text in c.log(f"worker{i}").read_text(), c.all_logs()


def workers_of_cuda(c):
    c.start_master()
    c.start_worker(1, "--device", "cuda", "--slots", 2)
    c.start_worker(2, "--device", "cuda")
    status = c.wait("three programs", lambda s: s["phase"] == "running" and len(c.programs(1)) == 2 and len(c.programs(2)) == 1)
    assert [w["device"] for w in status["workers"]] == ["cuda", "cuda"], status["workers"]
    assert (cards(c.programs(1)), cards(c.programs(2))) == (["0", "1"], ["0"])
    refused(c, 3, "my programs are for CUDA devices, and you offer processors: start the worker with --device cuda")
    assert any("worker3 was refused: it offers processors" in e["text"] for e in c.status()["events"]), c.status()
    c.wait_step(8, 300)  # with sanitizers fibers are slow
    c.finish()
    c.check()


def workers_of_both(c):
    """A job for processors has no use for a CUDA device."""
    c.options = [o for o in c.options if o not in ("--backend", "cuda")]
    c.start_master()
    refused(c, 3, "my programs are for processors, and you offer CUDA devices: start the master with --backend cuda", "--device", "cuda")
    assert c.master.poll() is None


with tempfile.TemporaryDirectory() as folder:
    for scenario in (workers_of_cuda, workers_of_both):
        c = Cluster(STAGECC, pathlib.Path(folder) / scenario.__name__, model=SOURCE / "examples/mlp/mlp.c", steps=100000,
                    data=f"idx:{SOURCE}/examples/digits/train", rehearse=100, workers=(2, 3), options=OPTIONS, keys=3)
        try:
            scenario(c)
            print(f"{scenario.__name__}: as expected", flush=True)
        finally:
            c.stop()
