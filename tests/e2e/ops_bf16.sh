#!/bin/sh
# Every op of the c backend in bf16 against ref in double.
grep -q avx512_bf16 /proc/cpuinfo || exit 77
exec python3 "$2/tests/ops/ops.py" "$1" --bf16
