#!/usr/bin/env bash
# A worker that gets half of its processor time, and all of it again. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/throttled.py" "$1" "$2"
