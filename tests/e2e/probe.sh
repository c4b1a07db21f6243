#!/usr/bin/env bash
# Library kernels that are chosen by timing, on a device that is not there. $1: stagecc, $2: sources.
tests=$(dirname "$1")/tests
[ -e "$tests/libcudart_of_tests.a" ] || { echo "stagecc was built without CUDA's headers: skipped"; exit 77; }
exec python3 "$2/tests/e2e/probe.py" "$1" "$2" "$tests"
