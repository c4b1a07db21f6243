#!/bin/sh
# ResNet-18 in bf16 in three stages: with flushes, then with stashed weights, of which backward works with older
# copies than forward, and transfers as int8.
grep -q avx512_bf16 /proc/cpuinfo || exit 77
python3 "$2/tests/long/digits.py" "$1" "$2" 6 -n 3 --dtype bf16 --batch 32 --micro-batches 4 &&
    exec python3 "$2/tests/long/digits.py" "$1" "$2" 6 -n 3 --dtype bf16 --schedule pipedream --batch 16 --micro-batches 1 --transfer int8
