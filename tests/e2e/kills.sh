#!/usr/bin/env bash
# Programs, workers and masters that are killed at instructions of a schedule. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/kills.py" "$1" 1f1b
