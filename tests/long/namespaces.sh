#!/usr/bin/env bash
# Three hosts with networks of their own on this machine: network namespaces behind a bridge, an sshd in each.
# Every one runs a stage of ResNet-50, deployed and started as on real hosts; the losses have the bits of the run on
# one host. Then a link is cut and the job ends by itself. $1: stagecc, $2: sources.
set -euo pipefail
stagecc=$1 sources=$2
skip() {
    echo "namespaces: skipped: $*"
    exit 77
}
[ "$(id -u)" = 0 ] || skip "needs root"
for tool in ip unshare ssh ssh-keygen tar; do
    command -v $tool > /dev/null || skip "$tool is not installed"
done
sshd=$(command -v sshd || echo /usr/sbin/sshd)
[ -x "$sshd" ] || skip "sshd is not installed (apt-get install openssh-server)"
if [ -z "${STAGECC_IN_NAMESPACE:-}" ]; then # all that is made here ends with this process
    unshare --net --mount true 2> /dev/null || skip "namespaces are not permitted here"
    STAGECC_IN_NAMESPACE=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() {
    echo "namespaces: $*"
    exit 1
}

mkdir -p /run/netns /run/sshd
mount -t tmpfs none /run/netns
ip link set lo up
ip link add br0 type bridge
ip addr add 10.77.0.254/24 dev br0
ip link set br0 up
ssh-keygen -q -t ed25519 -N '' -f key
ssh-keygen -q -t ed25519 -N '' -f hostkey
for i in 1 2 3; do
    ip netns add h$i
    ip link add veth$i type veth peer name eth0 netns h$i
    ip link set veth$i master br0 up
    ip -n h$i addr add 10.77.0.$i/24 dev eth0
    ip -n h$i link set eth0 up
    ip -n h$i link set lo up
    mkdir home$i
    cat > sshd$i <<CONFIG
ListenAddress 10.77.0.$i
HostKey $work/hostkey
PidFile none
AuthorizedKeysFile $work/key.pub
StrictModes no
PermitRootLogin yes
UsePAM no
SetEnv XDG_CACHE_HOME=$work/home$i TMPDIR=$work/home$i
CONFIG
    ip netns exec h$i "$sshd" -f "$work/sshd$i" -E "$work/log$i"
done
cat > ssh_config <<CONFIG
IdentityFile $work/key
UserKnownHostsFile $work/known
StrictHostKeyChecking accept-new
CONFIG
cat > shell <<SHELL
#!/bin/sh
exec ssh -F $work/ssh_config "\$@"
SHELL
chmod +x shell
export STAGECC_SSH=$work/shell
printf '10.77.0.%d\n' 1 2 3 > hosts

"$stagecc" build "$sources/examples/resnet/resnet.c" -D DEPTH=50 -D IMAGE=32 -D CHANNELS=3 -D CLASSES=10 \
    --stages 3 --batch 8 --micro-batches 4 --no-svg -o out > build.log 2>&1 || { cat build.log; fail "build"; }
"$stagecc" deploy out --hostfile hosts || fail "deploy"
"$stagecc" run out --data synthetic:64 --steps 4 --log-json alone.json > run.log 2>&1 || { cat run.log; fail "the run on one host"; }
"$stagecc" run out --data synthetic:64 --steps 4 --hostfile hosts --log-json apart.json > run.log 2>&1 || { cat run.log log?; fail "the run on three"; }
bits() {
    grep -o '"loss_bits":[^,}]*' "$1"
}
[ "$(bits alone.json | wc -l)" = 4 ] || fail "no losses"
diff <(bits alone.json) <(bits apart.json) || fail "other losses on three hosts"
echo "namespaces: ResNet-50 on three hosts, the same bits"

# A link that drops everything without a word
"$stagecc" run out --data synthetic:64 --steps 1000000 --hostfile hosts --log-json cut.json > run.log 2>&1 &
pid=$!
for _ in $(seq 600); do
    [ "$(bits cut.json 2> /dev/null | wc -l)" -ge 2 ] && break
    sleep 0.2
done
begin=$(date +%s)
ip link set veth2 down
status=0
wait $pid || status=$?
seconds=$(($(date +%s) - begin))
[ $status = 4 ] || { cat run.log; fail "status $status after the link was cut"; }
grep -q '10.77.0.2' run.log || { cat run.log; fail "the host is not named"; }
[ $seconds -lt 60 ] || fail "$seconds s until a cut link was noticed"
echo "namespaces: a cut link was noticed after $seconds s: $(grep error run.log | head -1)"
