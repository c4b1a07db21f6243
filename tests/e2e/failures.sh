#!/bin/sh
# A killed stage, signals, a loss that is not finite.
exec python3 "$2/tests/e2e/failures.py" "$1" "$2"
