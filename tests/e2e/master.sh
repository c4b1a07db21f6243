#!/usr/bin/env bash
# A master and its workers, and whoever of them dies. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/master.py" "$1"
