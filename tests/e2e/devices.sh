#!/usr/bin/env bash
# stagecc devices on this machine: two slots, then two more "hosts" behind a script in ssh's place that
# runs their commands here, shells, copies and TCP included. Numbers must be plausible, the file must read
# back and plan, failures must name host and remedy, and nothing may stay behind. $1: stagecc, $2: sources.
set -euo pipefail
stagecc=$1 sources=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
cd "$work"

fail() {
    echo "devices: $*"
    exit 1
}
left_behind() {
    [ -z "$(ls -A "$TMPDIR")" ] || fail "left behind: $(ls -A "$TMPDIR")"
}
expect() { # STATUS TEXT COMMAND...: what goes wrong says so
    local wanted=$1 text=$2 status=0
    shift 2
    "$@" > out 2> err || status=$?
    [ "$status" = "$wanted" ] || { cat out err; fail "status $status, not $wanted: $*"; }
    grep -q -- "$text" err || { cat err; fail "no \`$text\`: $*"; }
}

# This machine
printf 'localhost slots=2 # here\n' > hosts
"$stagecc" devices --hostfile hosts -o one.json > table 2> err || { cat err; fail "this machine"; }
grep -q 'localhost-1 ' table
cat > check.py <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
hosts = {v["host"] for v in d["devices"]}
assert len(d["devices"]) == int(sys.argv[2]), d
for v in d["devices"]:
    assert v["backend"] == "c" and v["threads"] == 1, v
    assert 1 << 20 < v["memory_bytes"] < 1 << 46 and 0.01 < v["speed"] < 3, v
wanted = {(a, b) for a in hosts for b in hosts if a < b} | {("localhost", "localhost")}
assert {tuple(sorted((l["from"], l["to"]))) for l in d["links"]} >= wanted, d["links"]
for l in d["links"]:
    assert 1e8 < l["bytes_per_s"] < 1e12 and 1e-7 < l["latency_s"] < 0.1, l
    assert l["shared"] == ("device" if l["from"] == l["to"] else "host"), l
END
python3 check.py one.json 2
left_behind

# Hosts behind a shell; --json prints what the file holds
cat > shell <<'END'
#!/bin/sh
while case $1 in -G) echo "hostname 127.0.0.1"; exit ;; -o) shift ;; --) false ;; -*) ;; *) false ;; esac; do shift; done
[ "$1" != -- ] || shift
echo "$1" >> "$0.log"
case $1 in gone) echo "ssh: connect to host gone port 22: No route to host" >&2; exit 255 ;; esac
shift
exec sh -c "$*"
END
chmod +x shell
export STAGECC_SSH=$work/shell
printf 'localhost slots=2\nh1 mem=3G weight=0.5\nme@h2 weight=0.25\n' > hosts
"$stagecc" devices --hostfile hosts -o three.json --json > printed 2> err || { cat err; fail "three hosts"; }
cmp three.json printed
python3 check.py three.json 4
python3 - <<'END'
import json
d = {v["name"]: v for v in json.load(open("three.json"))["devices"]}
assert d["h1"]["memory_bytes"] == 3 << 30 and d["h1"]["speed"] == 0.5, d # as the hostfile says
assert d["me@h2"]["host"] == "me@h2" and d["me@h2"]["speed"] == 0.25, d
END
[ "$(sort -u shell.log | tr '\n' ' ')" = "h1 me@h2 " ] || fail "localhost went through ssh: $(cat shell.log)"
left_behind
printf 'node1 -- Input0 -- forward_compute_time=0, backward_compute_time=0, activation_size=100.0, parameter_size=0.000\n' > graph.txt
for i in 2 3 4 5; do
    printf 'node%d -- Linear(8, 8) -- forward_compute_time=1.0, backward_compute_time=2.0, activation_size=1000.0, parameter_size=256.000\n' $i
done >> graph.txt
printf '\tnode%d -- node%d\n' 1 2 2 3 3 4 4 5 >> graph.txt
"$stagecc" plan graph.txt --devices three.json --no-svg -o plan > log 2>&1 || { cat log; fail "the devices do not plan"; }

# What goes wrong
printf 'localhost\ngone slots=2\n' > hosts
expect 4 'cannot reach gone by ssh .*No route to host' "$stagecc" devices --hostfile hosts -o no.json
expect 4 'true. must work without a question' "$stagecc" devices --hostfile hosts -o no.json
[ ! -e no.json ] || fail "a file in spite of an error"
STAGECC_SSH=$work/nothing expect 2 'apt-get install openssh-client' "$stagecc" devices --hostfile hosts
printf 'localhost\n127.0.0.1\n' > hosts
expect 1 'hosts:2:1: error: localhost and 127.0.0.1 are both this machine' "$stagecc" devices --hostfile hosts
printf 'h1 device=cuda\n' > hosts
CUDA_VISIBLE_DEVICES= expect 2 'CUDA devices' "$stagecc" devices --hostfile hosts # none, or nothing that could measure them
expect 1 'takes options only' "$stagecc" devices here
expect 1 'cannot read the hostfile' "$stagecc" devices --hostfile none
expect 2 'cannot write' "$stagecc" devices -o "$work/no/dir.json"
left_behind

# CUDA devices, where the program that measures them finds some (tests/cuda/): the first one's speed is 1
card=$(dirname "$stagecc")/tests/card_of_tests
if [ -e "$card" ]; then
    sed -i "s|^exec sh -c .*|case \"\$*\" in *' measure '*) exec sh -c \"\$*\" < $card ;; esac\n&|" shell
    export FAKE_CUDA_DEVICES=2 STAGECC_CUDA_LIBS=$(dirname "$card")/host_libraries
    printf 'h1 slots=2 device=cuda\nlocalhost weight=0.5\n' > hosts
    "$stagecc" devices --hostfile hosts -o cuda.json > table 2> err || { cat err; fail "CUDA devices"; }
    grep -q 'h1: none: products .* TFLOP/s, of bf16 .*; its memory .* GB/s, to it .*, from it ' table || { cat table; fail "no figures"; }
    python3 - << 'END'
import json
d = json.load(open("cuda.json"))
of = {v["name"]: v for v in d["devices"]}
assert d["reference"].startswith("speed 1: stagecc's own model on h1, estimated at ") and "none: products " in d["reference"], d
assert [of[n]["backend"] for n in ("localhost", "h1-0", "h1-1")] == ["c", "cuda", "cuda"], d
assert 3.5 * 2**30 <= of["h1-0"]["memory_bytes"] <= 0.9 * 4 * 2**30, d
assert of["h1-0"] == dict(of["h1-1"], name="h1-0") and (of["h1-0"]["speed"], of["localhost"]["speed"]) == (1, 0.5), d
links = {(l["from"], l["to"]): l["bytes_per_s"] for l in d["links"]}
assert links.keys() == {("h1", "h1"), ("h1", "localhost")}, d
END
    printf 'h1 slots=3 device=cuda\n' > hosts
    expect 2 'h1: measuring its CUDA devices failed: there are 2 CUDA devices for 3 slots' "$stagecc" devices --hostfile hosts
    FAKE_CUDA_DEVICES=0 FAKE_CUDA_DRIVER=0 expect 2 'h1: measuring its CUDA devices failed: there is no CUDA device: there is no driver' "$stagecc" devices --hostfile hosts
    printf 'h1\n' > hosts
    expect 1 'h1 has device=cpu, and --backend cuda is for device=cuda' "$stagecc" devices --hostfile hosts --backend cuda
    left_behind
fi

# A dry run starts nothing
printf 'localhost slots=2\nh1 device=cuda\n' > hosts
: > shell.log
if [ -e "$card" ]; then
    "$stagecc" devices --hostfile hosts --dry-run -o dry.json > out
    grep -q "h1: a CUDA device a slot, by .*stagecc-card measure 1" out || { cat out; fail "dry run"; }
fi
printf 'localhost slots=2\nh1\n' > hosts
"$stagecc" devices --hostfile hosts --dry-run -o dry.json > out
grep -q "h1: 1 slot of 1 thread, by $work/shell h1" out || { cat out; fail "dry run"; }
[ ! -e dry.json ] && [ ! -s shell.log ] || fail "the dry run has started something"

# Interrupted: status 130, and no process and no file stays
"$stagecc" devices --hostfile hosts -o no.json > out 2> err &
pid=$!
sleep 0.7
kill -TERM $pid
status=0
wait $pid || status=$?
[ $status = 130 ] || { cat err; fail "interrupted: status $status"; }
for _ in 1 2 3 4 5 6 7 8 9 10; do
    pgrep -f "$TMPDIR" > left || break
    sleep 0.2
done
[ ! -s left ] || fail "processes stay: $(cat left)"
left_behind

# What is built from a plan for devices stays on them
cat > two.json <<'J'
{"devices": [{"name": "a", "host": "h1"}, {"name": "b", "host": "h2", "speed": 2}],
 "links": [{"from": "h1", "to": "h2", "bytes_per_s": 1e9, "latency_s": 1e-5}]}
J
model=$2/examples/mlp/mlp.c
"$stagecc" plan "$model" --backend ref --devices two.json --straight_pipeline --no-svg -o planned > out
"$stagecc" plan "$model" --backend ref --plan planned --no-svg -o again > out 2> err
grep -q 'give --devices FILE.json' err || fail "no word of the devices' speeds"
python3 - <<'P'
import json
a, b = (json.load(open(f"{d}/plan.json")) for d in ("planned", "again"))
for plan in (a, b):
    assert plan["device_names"] == ["a", "b"] and sorted(s["devices"][0] for s in plan["stages"]) == [0, 1], plan
assert [s["devices"] for s in a["stages"]] == [s["devices"] for s in b["stages"]]
P
