#!/usr/bin/env bash
# The master's page in a browser. $1: stagecc, $2: the sources. Pictures of it: tests/e2e/page.py SERVE_PAGE DIR.
set -euo pipefail
serve=$(dirname "$1")/tests/serve_page
[ -x "$serve" ] || { echo "page: built without libmicrohttpd; apt-get install libmicrohttpd-dev"; exit 77; }
command -v chromium > /dev/null || { echo "page: there is no browser; apt-get install chromium"; exit 77; }
exec python3 "$2/tests/e2e/page.py" "$serve"
