"""A headless browser for tests of the master's page, and what its timeline shows there."""
import os
import re
import subprocess


def browse(folder, address, *options):
    log = os.path.join(folder, "net.json")
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
               "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--enable-logging=stderr", "--log-net-log=" + log,
               "--user-data-dir=" + os.path.join(folder, "profile"), "--timeout=30000", "--virtual-time-budget=3000", *options, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, complaints, open(log, errors="replace").read()


def boxes(page):
    """What the timeline shows: {rank: {kind: [(left, top, width, height)]}}."""
    found = {}
    for rank, row in re.findall(r'(?s)<g data-rank="(\d+)">(.*?)</g>', page):
        found[int(rank)] = {kind: [tuple(float(v) for v in re.match(r"([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)", box).groups()) for box in d.split("M")[1:]]
                            for kind, d in re.findall(r'<path class="(\w+)" d="([^"]*)"', row)}
    return found
