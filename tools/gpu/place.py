"""Where things lie, and how commands run: each with a time limit, none left over."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
FOLDER = SOURCE / "build/gpu"  # of --prepare; the tar lies beside it
sys.path += [str(SOURCE / "tests/e2e"), str(SOURCE / "tests/ops")]


class Trouble(Exception):
    """A check cannot go on: what to say."""


class Done:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    def why(self):
        """One line of what went wrong."""
        if self.status is None:
            return f"no end within {self.seconds:.0f} s"
        lines = [line for line in (self.err + "\n" + self.out).splitlines() if line.strip()]
        told = [line for line in lines if "error" in line.lower() or "cannot" in line] or lines[-1:]
        how = f"signal {-self.status}" if self.status < 0 else f"exit status {self.status}"
        return f"{how}: {told[0].strip()[:300]}" if told else how


STOP_S = 5  # one that hangs in the driver does not go
started = set()  # what has not ended yet


def begin(command, **more):
    """A process in a session of its own."""
    process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, start_new_session=True, **more)
    started.add(process)
    return process


def stop(process):
    """Ends a process that we started, and all that it started."""
    started.discard(process)
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_S)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass


def stop_all():
    for process in list(started):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def rest_of(process):
    """What it said before it was ended; others may hold its pipes."""
    try:
        return process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        return "", ""


def run(command, limit_s, env=None, cwd=None):
    """Waits for a command. status None: it was ended because its time was over."""
    since = time.monotonic()
    try:
        process = begin(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                        env={**os.environ, **(env or {})}, cwd=cwd)
    except OSError as error:
        return Done(127, "", str(error), 0)
    try:
        out, err = process.communicate(timeout=max(limit_s, 0.1))
        status = process.returncode
        started.discard(process)
    except subprocess.TimeoutExpired:
        stop(process)
        out, err = rest_of(process)
        status = None
    except BaseException:
        stop(process)
        raise
    return Done(status, out, err, time.monotonic() - since)


def side_by_side(function, values, most=None):
    values = list(values)
    with concurrent.futures.ThreadPoolExecutor(most or os.cpu_count() or 1) as pool:
        return list(pool.map(function, values))


def find_nvcc():
    for path in (os.environ.get("NVCC"), shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if path and os.access(path, os.X_OK):
            return path
    return None


class Place:
    """A folder with what was prepared, and what is known of the machine."""

    def __init__(self, root, report):
        self.root, self.report, self.deadline = pathlib.Path(root), report, time.monotonic()
        self.why_not = None  # why nothing runs on a card
        self.facts = {}  # of the machine, for the JSON
        self.ceilings = {}  # name -> figure
        manifest = self.root / "manifest.json"
        self.manifest = json.loads(manifest.read_text()) if manifest.exists() else {}
        self.stagecc, self.card = self.root / "stagecc", self.root / "stagecc-card"
        self.work = self.root / "work"
        self.without_graphs = set()  # what programs said of it

    @property
    def tiny(self):
        return bool(self.manifest.get("simulated"))

    def env(self):
        own = {"STAGECC_TIMEOUT": "120", "XDG_CACHE_HOME": str(self.root / "cache")}  # to make a plan may take seconds
        if self.tiny:
            own["STAGECC_CUDA_LIBS"] = str(self.root / "tests/host_libraries")
        return own

    def left(self):
        return self.deadline - time.monotonic()

    def run(self, command, limit_s=None, env=None, cwd=None):
        """Within what is left of the step."""
        left = self.left()
        done = run(command, min(limit_s or left, left), {**self.env(), **(env or {})}, cwd)
        self.look_for_graphs(command, done)
        return done

    def look_for_graphs(self, command, done):
        """A program that cannot use CUDA graphs goes on, and so does its check, but that is a failure by itself."""
        program = pathlib.Path(str(command[min(2, len(command) - 1)])).name
        for line in done.err.splitlines():
            if "no CUDA graphs" in line and (program, line) not in self.without_graphs:
                self.without_graphs.add((program, line))
                self.report.failed(f"{program}, CUDA graphs", line)

    def must(self, command, limit_s=None, env=None):
        done = self.run(command, limit_s, env)
        if done.status != 0:
            raise Trouble(f"{pathlib.Path(str(command[0])).name} {command[1] if len(command) > 1 else ''}: {done.why()}")
        return done.out

    def program(self, name):
        """The folder of a program; it has to be there."""
        folder = self.root / "programs" / name
        if not folder.exists():
            raise Trouble(f"the program {name} was not carried")
        return folder

    def fresh(self, name):
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def tar_of(folder):
    return folder.parent / f"{folder.name}.tar"


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def megabytes(path):
    return path.stat().st_size / 2**20
