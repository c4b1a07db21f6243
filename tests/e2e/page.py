"""Shows the master's page to a headless browser and reads what it made of a status: what it must say, hostile names that
stay text, no complaint on the console, no request to anywhere but the page. With a second argument also takes pictures
into that folder, light and dark, wide and narrow, to be looked at."""

import copy, html, json, math, os, random, re, subprocess, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from browser import boxes, browse

serve, pictures = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
GIB = 1 << 30
NOW = 1764412345.123
FILES = {"/", "/page.css", "/draw.js", "/curves.js", "/timeline.js", "/page.js"}


def stage(n, replica, rank, worker, layers, predicted, busy, memory):
    return {"stage": n, "replica": replica, "rank": rank, "worker": worker, "first": layers[0], "last": layers[1],
            "predicted_s": predicted, "busy_s": busy, "memory_bytes": int(memory * GIB), "parameter_bytes": int(memory * GIB / 20)}


def spans(rank, busy):
    """One step of 1F1B with four micro-batches on three stages, roughly."""
    f, b = busy / 12 * 1000, busy / 6 * 1000
    out, t, depth = [], rank * 75.0, 3 - min(rank, 2)
    order = [("forward", m) for m in range(depth)]
    for m in range(4):
        order.append(("backward", m))
        if m + depth < 4:
            order.append(("forward", m + depth))
    ready = (2 - min(rank, 2)) * 230.0 + 300
    for kind, m in order:
        t = max(t, ready + m * 235) if kind == "backward" else t
        out.append([kind, m, t, t + (f if kind == "forward" else b)])
        t = out[-1][3] + 4
    return out + [["reduce_sum", 0, t, t + 30], ["update", 0, t + 34, t + 70]]


def sample():
    dice = random.Random(7)
    layers = [("conv1", "layer2.3"), ("layer3.0", "layer3.21"), ("layer3.22", "fc")]
    stages = [stage(0, 0, 0, 0, layers[0], .9, .95, 5.2), stage(1, 0, 1, 1, layers[1], .98, 1.13, 4.1),
              stage(1, 1, 2, 3, layers[1], .98, 1.02, 4.1), stage(2, 0, 3, 2, layers[2], .88, .86, 2.9)]
    names = ["h1", "h2", "rack2-node17.example.org", "h4", "h5"]
    workers = [{"worker": i, "name": name, "here": i != 4, "phase": "running" if i != 4 else "stopped", "epoch": 3,
                "heard_ms": 61200 if i == 4 else 12 + 40 * i, "slots": 1, "memory_bytes": 16 * GIB, "speed": [1, .97, 1.02, .99, .5][i],
                "isa": "avx512" if i != 2 else "avx2", "drained": i == 3} for i, name in enumerate(names)]
    history, at = [], NOW - 118 * 1.4 - 25
    for step in range(1, 121):
        at += 1.4 + (12 if step in (31, 84) else 0)
        loss = 1.1 + 5.8 * math.exp(-step / 28) + dice.uniform(-.12, .12)
        history.append([step, round(loss, 4), round((9 if step < 31 else 21 if step < 84 else 17) + dice.uniform(-.5, .5), 2), at])
    when = {row[0]: row[3] for row in history}
    events = [{"at": when[1] - 9, "text": "worker h1 joined"}, {"at": when[1] - 8, "text": "worker h2 joined"},
              {"at": when[1] - 2, "text": "epoch 1: 2 stages on h1, h2", "epoch": 1},
              {"at": when[24], "text": "worker h4 joined"}, {"at": when[30] + .1, "text": "epoch 2: 3 stages on 5 workers", "epoch": 2},
              {"at": when[83] + 2, "text": "worker h5 was lost: nothing heard for 5 s"},
              {"at": when[83] + 4, "text": "epoch 3: 3 stages on h1, h2, h4, rack2-node17.example.org", "epoch": 3},
              {"at": when[110], "text": "worker h4 leaves at the next change of plan"}]
    ranks = [{"rank": s["rank"], "spans": spans(s["stage"], s["busy_s"])} for s in stages]
    for rank in ranks:
        rank["begin_ms"], rank["end_ms"] = 0, rank["spans"][-1][3] + 20
        rank["spans"].insert(0, ["wait_recv", 0, 0, rank["spans"][0][2]])
    ranks[2]["spans"].append(["wait_master", 0, ranks[2]["end_ms"] - 15, ranks[2]["end_ms"]])
    return {"job": "0123456789abcdef", "model": "resnet152", "now": NOW, "phase": "running", "waits": "", "epoch": 3, "step": 120,
            "last_step": 400, "loss": history[-1][1], "samples_per_s": 17.2,
            "plan": {"name": "3 stages", "schedule": "1f1b", "batch": 32, "micro_batches": 4, "predicted_step_s": 1.2, "stages": stages},
            "workers": workers, "history": history, "timeline": {"step": 119, "clocks": 1, "ranks": ranks}, "events": events,
            "changes": 2, "losses": 1, "last_pause_s": .8}


class Server:
    """The page of a status, on a port of its own."""

    def __init__(self, folder, status, times=-1):
        path = os.path.join(folder, "status.json")
        with open(path, "w") as f:
            json.dump(status, f)
        self.process = subprocess.Popen([serve, "127.0.0.1:0", path, str(times)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def __enter__(self):
        return self.address

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(10) == 0


def shown(page):
    """What a reader sees: text without markup, and without the script."""
    body = re.sub(r"(?s)<(script|style)\b.*?</\1>", "", page[page.index("<body"):])
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


def wants(page, *texts):
    seen = shown(page)
    for text in texts:
        assert text in seen, f"`{text}` is not in: {seen}"


def tag(page, name):
    """Attributes of the element of this id."""
    found = dict(re.findall(r'([a-z-]+)="([^"]*)"', re.search(f'<[^>]* id="{name}"[^>]*>', page)[0]))
    del found["id"]
    return found


def requests(net_log, address):
    """Addresses that the page asked for, as the browser recorded them; what the browser itself wants has no origin."""
    asked = set()
    for line in net_log.splitlines():
        url, initiator = (re.search(f'"{key}":"([^"]*)"', line) for key in ("url", "initiator"))
        if url and initiator and (initiator[1] != "not an origin" or url[1].startswith(address)):
            asked.add(url[1].replace(address, "/"))
    return asked


def dump(folder, status, times=-1):
    with Server(folder, status, times) as address:
        page, complaints, net_log = browse(folder, address, "--dump-dom")
    return page, complaints, requests(net_log, address)


def check_timeline(page, timeline):
    """Each span where its times say, on one scale, in the row of its rank."""
    drawn = boxes(page)
    assert drawn.keys() == {r["rank"] for r in timeline["ranks"]}, drawn.keys()
    begin, end = (pick(r[key] for r in timeline["ranks"]) for pick, key in ((min, "begin_ms"), (max, "end_ms")))
    left, scale = drawn[0]["window"][0][0], max(b[0] + b[2] for row in drawn.values() for b in row["window"])
    scale = (scale - left) / (end - begin)
    words = {"forward": "forward", "backward": "backward", "update": "update", "reduce_sum": "exchange", "wait_recv": "wait", "wait_master": "leave"}
    for r in timeline["ranks"]:
        row, tops = drawn[r["rank"]], set()
        for kind in set(words.values()):
            want = [(left + (s[2] - begin) * scale, (s[3] - s[2]) * scale) for s in r["spans"] if words.get(s[0], "rest") == kind]
            got = row.get(kind, [])
            assert len(got) == len(want) and all(abs(g[0] - w[0]) < .05 and (abs(g[2] - w[1]) < .05 or w[1] < .6) for g, w in zip(got, want)), (r["rank"], kind, got, want)
            tops |= {int(b[1] // 26) for b in got}
        assert tops == {r["rank"]}, tops


def check_sample(folder):
    page, complaints, asked = dump(folder, sample())
    assert not complaints, complaints
    assert asked == FILES | {"/status.json"}, asked
    wants(page, "resnet152", "Running", "120 of 400", "17.2", "8 min 41 s", "Last pause 800 ms", "2 changes of plan", "4 of 5, 1 lost so far",
          "3 stages · 1f1b · batch 32 in 4 micro-batches · 1.20 s a step predicted · 1.86 s measured",
          "Stage 1 busy longest", "layer3.0 – layer3.21", "1.13 s busy, 980 ms predicted +15 %", "4.10 GiB of 16.0 GiB",
          "rack2-node17.example.org", "replica 1, rank 2", "4 of 5 here", "running, leaving", "12 ms ago", "1 min 01 s ago", "avx512",
          "worker h5 was lost", "epoch 2", "step 120: " + "%.3f" % sample()["loss"], "gradients")
    seen = shown(page)
    events = seen[seen.index("newest first"):]
    assert events.index("h4 leaves") < events.index("worker h1 joined"), "events stand oldest first"
    assert tag(page, "phase") == {"class": "running", "role": "status"} and "hidden" in tag(page, "trouble")
    assert seen.index("Stage 0") < seen.index("Stage 1") < seen.index("Stage 2")
    curves = re.findall(r'class="curve" d="([^"]*)"', page)
    assert [d.count("L") for d in curves] == [119, 119] and "does not answer" not in seen
    assert page.count('class="epoch"') == 2 * 2 and page.count('class="event"') == 2 * 3
    check_timeline(page, sample()["timeline"])
    assert re.search(r'<title>120/400 · resnet152</title>', page)


def check_hostile(folder):
    """Markup and scripts in every text there is."""
    bad = '"\'></script><script>document.title="taken"</script><img src=x onerror=document.title="taken">\n&lt;b>'
    status = sample()
    for holder in [status, status["plan"], *status["plan"]["stages"], *status["workers"], *status["events"]]:
        for key, value in list(holder.items()):
            if isinstance(value, str):
                holder[key] = bad
    for rank in status["timeline"]["ranks"]:
        rank["spans"][0][0] = bad
        rank["spans"][0][1] = bad
    status["phase"] = "__proto__"
    status["workers"][1]["isa"] = {"toString": 1}
    page, complaints, asked = dump(folder, status)
    assert not complaints, complaints
    assert asked == FILES | {"/status.json"}, asked
    wants(page, re.sub(r"\s+", " ", bad).strip())
    assert tag(page, "phase")["class"] == "" and "<img" not in page and page.count("<script") == 4 and "<title>taken" not in page


def check_little(folder):
    """Before anything runs, and a status that lacks nearly all or has other things in its place."""
    waiting = {"job": "1", "model": "mlp", "now": NOW, "phase": "waiting", "waits": "for 2 more workers", "epoch": 0, "step": 0,
               "last_step": 10, "loss": None, "samples_per_s": 0, "plan": None, "workers": [], "history": [], "events": [],
               "changes": 0, "losses": 0, "last_pause_s": 0}
    page, complaints, _ = dump(folder, waiting)
    assert not complaints, complaints
    wants(page, "Waiting for 2 more workers", "There is no plan yet.", "No step is committed yet.", "No worker is known yet.",
          "Nothing has happened yet.", "0 of 10")
    one = dict(waiting, phase="done", history=[[1, None, 2, NOW], [2, .5, 2, NOW + 1]], step=10)
    page, complaints, _ = dump(folder, one)
    assert not complaints, complaints
    wants(page, "Done", "step 2: 0.5000")
    odd = dict(copy.deepcopy(waiting), plan={"stages": [{"stage": 0}, 3]}, workers=[None, {"worker": 0}], history=[1, [1, "x"]],
               events=[None, {"text": 3}], timeline={"ranks": [{"rank": 0, "spans": [["forward", 0, 0, None]]}]}, step="1")
    page, complaints, _ = dump(folder, odd)
    assert not complaints, complaints
    wants(page, "Stage 0", "worker 0")


def check_silence(folder):
    page, _, asked = dump(folder, "no status")
    wants(page, "The master does not answer (HTTP 503).", "No answer from the master")
    assert "hidden" in tag(page, "all") and "hidden" not in tag(page, "trouble") and asked == FILES | {"/status.json"}, asked
    page, _, _ = dump(folder, sample(), times=1)  # what was there stays, and it is said of when it is
    wants(page, "The master does not answer (HTTP 503). What is shown is of ", "120 of 400", "rack2-node17.example.org")
    assert tag(page, "phase")["class"] == "silent" and "hidden" not in tag(page, "trouble")


def take_pictures(folder, into):
    with Server(folder, sample()) as address:
        for scheme, dark in ("light", []), ("dark", ["--blink-settings=preferredColorScheme=0"]):
            for name, size in ("wide", "1440,1500"), ("narrow", "500,3200"):
                path = os.path.join(into, f"{scheme}-{name}.png")
                browse(folder, address, "--hide-scrollbars", "--window-size=" + size, "--screenshot=" + path, *dark)


with tempfile.TemporaryDirectory() as work:
    for check in check_sample, check_hostile, check_little, check_silence:
        check(work)
    if pictures:
        take_pictures(work, pictures)
print("page: shown as it should be")
