#!/usr/bin/env bash
# Three hosts with networks of their own on this machine: network namespaces (parts/networks.sh), an sshd in each.
# Every one runs a stage of ResNet-50, deployed and started as on real hosts; the losses have the bits of the run on
# one host. Then a link is cut and the job ends by itself. $1: stagecc, $2: sources.
set -euo pipefail
stagecc=$1 sources=$2
. "$(dirname "$0")/parts/networks.sh"
need ssh openssh-client
need ssh-keygen openssh-client
need sshd openssh-server

mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f key
ssh-keygen -q -t ed25519 -N '' -f hostkey
for i in 1 2 3; do
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
    ip netns exec h$i /usr/sbin/sshd -f "$work/sshd$i" -E "$work/log$i"
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

build_resnet50 "$stagecc" "$sources"
"$stagecc" deploy out --hostfile hosts || fail "deploy"
"$stagecc" run out --data synthetic:64 --steps 4 --hostfile hosts --log-json apart.json > run.log 2>&1 || { cat run.log log?; fail "the run on three"; }
same_bits apart.json

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
