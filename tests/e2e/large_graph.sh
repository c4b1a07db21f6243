#!/usr/bin/env bash
# Files of 100 MB that look like a profiled graph: read or refused in seconds, in bounded memory. $1 is stagecc.
set -euo pipefail
stagecc=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# make KIND: graph.txt of about 100 MB
make() {
    python3 - "$1" > graph.txt << 'PYTHON'
import os, sys
size, out = 100 << 20, sys.stdout.buffer
node = lambda i: (f"node{i} -- Conv2d(64, 64, kernel_size=(3, 3)) -- forward_compute_time=1.000, backward_compute_time=2.000, "
                  f"activation_size=1024.000, parameter_size=64.000\n").encode()
kind = sys.argv[1]
if kind == "chain":
    n = size // (len(node(100000)) + 26)
    out.write(b"".join(node(i) for i in range(n)))
    out.write(b"".join(b"\tnode%d -- node%d\n" % (i, i + 1) for i in range(n - 1)))
out.write(node(0) + node(1))
out.write({"chain": b"", "edges": b"\tnode0 -- node1\n" * (size // 16), "blank": b"\n" * size, "line": b"node2 -- " + b"x" * size,
           "wrong": b"node2 -- x\n" * (size // 11), "zeros": bytes(size), "random": b"node2 -- " + os.urandom(size)}[kind])
PYTHON
}

# run ARGUMENTS...: what stagecc says, with its exit status; 99: it took more than 1.5 GB
run() {
    python3 - "$stagecc" "$@" << 'PYTHON'
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
sys.stdout.buffer.write(done.stdout)
sys.exit(99 if resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 1.5e6 else done.returncode)
PYTHON
}

# expect KIND STATUS WORDS
expect() {
    make "$1"
    status=0
    said=$(run "${command[@]}") || status=$?
    if [ "$status" != "$2" ] || [[ $said != *"$3"* ]]; then
        printf '%s: status %s, expected %s and "%s" in:\n%.2000s\n' "$1" "$status" "$2" "$3" "$said"
        exit 1
    fi
}

command=(plan graph.txt -n 2 -o out --no-svg)
expect blank 0 "out/plan.json"
command=(check graph.txt)
expect edges 1 "more than 4194304 edges"
expect line 1 "this line has 104857609 bytes"
expect wrong 1 "the rest of the file was not read"
expect zeros 1 "zero byte at offset 304"
expect random 1 "graph.txt"
# Two nodes more than there should be.
expect chain 1 "\`node0\` is here twice"
sed -i '$d' graph.txt && sed -i '$d' graph.txt
status=0
said=$(run check graph.txt) || status=$?
[[ $status = 1 && $said = *"there is no node \`Input\`"* ]]
status=0
said=$(run plan graph.txt -n 4 -o out) || status=$?
[[ $status = 1 && $said = *"65536 are the most that can be planned"* ]]
