#!/usr/bin/env python3
"""The UCX transport beside ucx_perftest: over loopback, or between two network namespaces of this machine (root).

    bench/network.py BUILD [--namespaces] [--device lo] [--slots 4] [--repeat 5] [--sizes 1024,1048576]

Both wait asleep (ucx_perftest -e -E sleep), in pairs one after the other, so that a machine that is busy slows both.
Slots: how many messages of an edge may be on their way; ucx_perftest has no such limit.
  goal: 0.8 of its bytes per second (medians of the ratios)
"""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import time

ROUNDS = {1 << 10: 4000, 1 << 14: 2000, 1 << 17: 1000, 1 << 20: 500, 64 << 20: 12}
SPACES = ["stagecc-a", "stagecc-b"]


@contextlib.contextmanager
def namespaces():
    """Two networks, 10.78.0.1 and 10.78.0.2, with a cable between them."""
    a, b = SPACES
    lines = [f"netns add {a}", f"netns add {b}", f"link add eth0 netns {a} type veth peer name eth0 netns {b}"]
    for i, space in enumerate(SPACES, 1):
        lines += [f"-n {space} addr add 10.78.0.{i}/24 dev eth0", f"-n {space} link set eth0 up", f"-n {space} link set lo up"]
    try:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)
        yield
    finally:
        for space in SPACES:
            subprocess.run(["ip", "netns", "del", space], check=False)


def ours(a, bytes_, environment):
    words = [f"{a.build}/bench/network", str(bytes_), str(ROUNDS[bytes_]), str(a.slots), *(SPACES if a.namespaces else [])]
    return json.loads(subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout)


def perftest(a, test, bytes_, environment):
    """Typical latency and mean bandwidth (in MB of 2^20) of its last line."""
    inside = [["ip", "netns", "exec", space] if a.namespaces else [] for space in SPACES]
    words = ["-t", test, "-e", "-E", "sleep", "-s", str(bytes_), "-n", str(ROUNDS[bytes_]), "-w", "10", "-p", "13399"]
    server = subprocess.Popen([*inside[1], "ucx_perftest", *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    client = [*inside[0], "ucx_perftest", "10.78.0.2" if a.namespaces else "127.0.0.1", *words]
    done = subprocess.run(client, env=environment, check=True, capture_output=True, text=True)
    server.wait()
    line = [l for l in done.stdout.splitlines() if l.startswith("Final:")][-1]
    _, _, typical_us, _, _, bandwidth, *_ = line.split()
    return {"half_round_trip_us": float(typical_us), "bytes_per_s": float(bandwidth) * 2**20}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--namespaces", action="store_true")
    p.add_argument("--device", default="lo")
    p.add_argument("--slots", type=int, default=4)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")], default=list(ROUNDS))
    a = p.parse_args()
    environment = dict(os.environ, UCX_NET_DEVICES="eth0" if a.namespaces else a.device, UCX_TLS="tcp")
    with namespaces() if a.namespaces else contextlib.nullcontext():
        for bytes_ in a.sizes:
            rows = []
            for _ in range(a.repeat):
                mine = ours(a, bytes_, environment)
                stream, ping = perftest(a, "tag_bw", bytes_, environment), perftest(a, "tag_lat", bytes_, environment)
                rows.append((mine["bytes_per_s"], stream["bytes_per_s"], mine["half_round_trip_us"], ping["half_round_trip_us"]))
            column = [statistics.median(c) for c in zip(*rows)]
            ratio = statistics.median(m / t for m, t, _, _ in rows)
            print(f"{bytes_:9d} bytes: {column[0] / 1e9:6.3f} GB/s, ucx_perftest {column[1] / 1e9:6.3f} (ratio {ratio:.2f});"
                  f" half round trip {column[2]:8.1f} us, ucx_perftest {column[3]:8.1f}", flush=True)


main()
