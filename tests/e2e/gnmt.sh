#!/bin/sh
# GNMT on a copy task: it learns, and a cut changes no bit.
exec python3 "$2/tests/e2e/gnmt.py" "$1" "$2"
