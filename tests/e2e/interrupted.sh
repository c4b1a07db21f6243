#!/usr/bin/env bash
# A command that is told to end while it compiles ends what it has started, the compiler's own children too,
# and says so by its status. $1: stagecc, $2: sources.
set -euo pipefail
stagecc=$1 sources=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/cc" <<'CC'
#!/bin/sh
sleep 300 &
echo $! >"$(dirname "$0")/child"
wait
CC
chmod +x "$work/cc"

for signal in TERM INT; do
    rm -f "$work/child"
    CC=$work/cc python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])' \
        "$stagecc" build "$sources/examples/mlp/mlp.c" --stages 2 --backend ref --no-svg -o "$work/out" 2>"$work/log" & # a shell's background ignores SIGINT
    command=$!
    for _ in $(seq 300); do [ -s "$work/child" ] && break || sleep 0.1; done
    child=$(cat "$work/child")
    kill -$signal $command
    status=0
    wait $command || status=$?
    [ $status = 130 ] || { echo "SIG$signal: status $status instead of 130"; cat "$work/log"; exit 1; }
    # A process that was killed is gone once it has run, which on a busy machine is a little later.
    for _ in $(seq 50); do grep -q sleep "/proc/$child/cmdline" 2>/dev/null || break; sleep 0.1; done
    ! grep -q sleep "/proc/$child/cmdline" 2>/dev/null || { echo "SIG$signal: the compiler's child lives on"; exit 1; }
    grep -q interrupted "$work/log"
done
