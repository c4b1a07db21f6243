#!/usr/bin/env bash
# Programs and launchers that are killed, and what becomes of the run. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/restart.py" "$1" "$2"
