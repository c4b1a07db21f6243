#!/usr/bin/env bash
# Stages on several hosts, all of them this machine: two under its own names, two behind a script in ssh's
# place. Same bits as on one host; signals, deaths and wrong programs end the job as there. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/hosts.py" "$@"
