"""Commands in the place of ssh and srun: every host is this machine, with a home of its own beside the command."""

SSH = """#!/bin/sh
while case $1 in -G) echo "hostname 127.0.0.1"; exit ;; -o) shift ;; --) false ;; -*) ;; *) false ;; esac; do shift; done
[ "$1" != -- ] || shift
case $1 in gone) echo "ssh: connect to host gone port 22: No route to host" >&2; exit 255 ;; esac
export HOME="$0.home-$1"
shift
exec sh -c "$*"
"""

# As ssh is: what it has started hears of its end by its standard input only.
SSH_APART = SSH.replace("exec sh -c", "exec setsid --wait sh -c")

SRUN = """#!/bin/sh
while case $1 in --nodelist=*) node=${1#*=} ;; --*) ;; *) false ;; esac; do shift; done
export HOME="$0.home-$node"
exec "$@"
"""


def put(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path
