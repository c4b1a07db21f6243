#!/usr/bin/env python3
"""The UCX transport beside ucx_perftest, over one device of this machine.

    bench/network.py BUILD [--device lo] [--repeat 5]

Both wait asleep (ucx_perftest -e -E sleep), in pairs one after the other, so that a machine that is busy slows both.
Prints medians of the ratios; docs ask for 0.8.
"""
import argparse
import json
import os
import statistics
import subprocess
import time

SIZES = {1024: 4000, 1 << 20: 500, 64 << 20: 12}


def ours(build, bytes_, rounds, environment):
    done = subprocess.run([f"{build}/bench/network", str(bytes_), str(rounds)], env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def perftest(test, bytes_, rounds, environment):
    """Typical latency and mean bandwidth (in MB of 2^20) of its last line."""
    words = ["ucx_perftest", "-t", test, "-e", "-E", "sleep", "-s", str(bytes_), "-n", str(rounds), "-w", "10", "-p", "13399"]
    server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    done = subprocess.run(words[:1] + ["127.0.0.1"] + words[1:], env=environment, check=True, capture_output=True, text=True)
    server.wait()
    line = [l for l in done.stdout.splitlines() if l.startswith("Final:")][-1]
    _, _, typical_us, _, _, bandwidth, *_ = line.split()
    return {"half_round_trip_us": float(typical_us), "bytes_per_s": float(bandwidth) * 2**20}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--device", default="lo")
    p.add_argument("--repeat", type=int, default=5)
    a = p.parse_args()
    environment = dict(os.environ, UCX_NET_DEVICES=a.device, UCX_TLS="tcp")
    for bytes_, rounds in SIZES.items():
        rows = []
        for _ in range(a.repeat):
            mine = ours(a.build, bytes_, rounds, environment)
            stream = perftest("tag_bw", bytes_, rounds, environment)
            ping = perftest("tag_lat", bytes_, rounds, environment)
            rows.append((mine["bytes_per_s"], stream["bytes_per_s"], mine["half_round_trip_us"], ping["half_round_trip_us"]))
        column = [statistics.median(c) for c in zip(*rows)]
        ratio = statistics.median(m / t for m, t, _, _ in rows)
        print(f"{bytes_:9d} bytes: {column[0] / 1e9:6.3f} GB/s, ucx_perftest {column[1] / 1e9:6.3f} (ratio {ratio:.2f});"
              f" half round trip {column[2]:8.1f} us, ucx_perftest {column[3]:8.1f}")


main()
