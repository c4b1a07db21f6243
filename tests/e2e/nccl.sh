#!/usr/bin/env bash
# Messages from device to device between programs of the cuda backend, without any. $1: stagecc, $2: sources.
tests=$(dirname "$1")/tests
[ -e "$tests/host_libraries/libnccl.so.2" ] || { echo "stagecc was built without NCCL's header: skipped"; exit 77; }
exec python3 "$2/tests/e2e/nccl.py" "$1" "$2" "$tests"
