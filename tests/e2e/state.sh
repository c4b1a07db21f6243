#!/bin/sh
# Wrong data files, damaged checkpoints, a full disk, resuming under another number of stages.
exec python3 "$2/tests/e2e/state.py" "$1" "$2" "$(dirname "$1")/tests/libfull_disk.so"
