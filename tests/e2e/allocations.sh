#!/bin/sh
# A training step allocates nothing in our code; memory is flat and as planned (tests/long: 1,000 steps).
exec python3 "$2/tests/e2e/allocations.py" "$1" "$2" "$(dirname "$1")/tests/libmalloc_watch.so" 100
