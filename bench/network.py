#!/usr/bin/env python3
"""The UCX transport beside ucx_perftest: over loopback, or between two network namespaces of this machine (root).

    bench/network.py BUILD [--namespaces] [--device lo] [--slots 4] [--repeat 5] [--sizes 1024,1048576]

Both wait asleep (ucx_perftest -e -E sleep), in pairs one after the other, so that a machine that is busy slows both.
Slots: how many messages of an edge may be on their way; ucx_perftest has no such limit.
  goal: 0.8 of its bytes per second (medians of the ratios)
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ROUNDS = {1 << 10: 4000, 1 << 14: 2000, 1 << 17: 1000, 1 << 20: 500, 64 << 20: 12}
SPACES = ["stagecc-a", "stagecc-b"]


def make_namespaces():
    """Two networks, 10.78.0.1 and 10.78.0.2, with a cable between them. They end with this process, which starts again for that."""
    if "STAGECC_IN_NAMESPACE" not in os.environ:
        os.environ["STAGECC_IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
    a, b = SPACES
    lines = ["mkdir -p /run/netns", "mount -t tmpfs none /run/netns", f"ip netns add {a}", f"ip netns add {b}", f"ip link add eth0 netns {a} type veth peer name eth0 netns {b}"]
    for i, space in enumerate(SPACES, 1):
        lines += [f"ip -n {space} addr add 10.78.0.{i}/24 dev eth0", f"ip -n {space} link set eth0 up", f"ip -n {space} link set lo up"]
    for line in lines:
        subprocess.run(line.split(), check=True)
    time.sleep(2)  # until the links are up


def ours(a, bytes_, environment):
    words = [f"{a.build}/bench/network", str(bytes_), str(ROUNDS[bytes_]), str(a.slots), *(SPACES if a.namespaces else [])]
    return json.loads(subprocess.run(words, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout)


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
    if a.namespaces:
        make_namespaces()
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
