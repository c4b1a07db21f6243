#!/usr/bin/env bash
# A master killed at every write of its journal. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/journal.py" "$1" "$(dirname "$1")/tests/libkill_master.so"
