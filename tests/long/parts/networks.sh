# Sourced by tests that need several hosts: three networks, h1 to h3, behind a bridge. 10.77.0.1 to .3, this side
# is 10.77.0.254. Everything lies in namespaces of this process and ends with it; $work is the test's folder.
name=$(basename "$0" .sh)
skip() {
    echo "$name: skipped: $*"
    exit 77
}
fail() {
    echo "$name: $*"
    exit 1
}
need() { # TOOL [PACKAGE]
    PATH=$PATH:/usr/sbin command -v "$1" > /dev/null || skip "$1 is not installed${2:+ (apt-get install $2)}"
}

[ "$(id -u)" = 0 ] || skip "needs root"
for tool in ip unshare mount; do
    need $tool
done
if [ -z "${STAGECC_IN_NAMESPACE:-}" ]; then
    unshare --net --mount true 2> /dev/null || skip "namespaces are not permitted here"
    STAGECC_IN_NAMESPACE=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
PATH=$PATH:/usr/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip link set lo up
ip link add br0 type bridge
ip addr add 10.77.0.254/24 dev br0
ip link set br0 up
add_host() { # NUMBER
    ip netns add h$1
    ip link add veth$1 type veth peer name eth0 netns h$1
    ip link set veth$1 master br0 up
    ip -n h$1 addr add 10.77.0.$1/24 dev eth0
    ip -n h$1 link set eth0 up
    ip -n h$1 link set lo up
    mkdir home$1
}
for i in 1 2 3; do
    add_host $i
done

# ResNet-50 in three stages on one host, and then apart: 4 losses each, the same bits.
build_resnet50() { # STAGECC SOURCES
    "$1" build "$2/examples/resnet/resnet.c" -D DEPTH=50 -D IMAGE=32 -D CHANNELS=3 -D CLASSES=10 \
        --stages 3 --batch 8 --micro-batches 4 --no-svg -o out > build.log 2>&1 || { cat build.log; fail "build"; }
    "$1" run out --data synthetic:64 --steps 4 --log-json alone.json > run.log 2>&1 || { cat run.log; fail "the run on one host"; }
}
bits() { # LOG
    grep -o '"loss_bits":[^,}]*' "$1"
}
same_bits() { # LOG
    [ "$(bits alone.json | wc -l)" = 4 ] || fail "no losses"
    diff <(bits alone.json) <(bits "$1") || fail "other losses on three hosts"
    echo "$name: ResNet-50 on three hosts, the same bits"
}
