#!/usr/bin/env bash
# stagecc keygen: who may read what it makes, that public keys are those of the secrets (asked of ZeroMQ
# itself, and tried), that workers pin the master, and that later calls leave alone what is there. $1: stagecc.
set -euo pipefail
stagecc=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "keygen: $*"
    exit 1
}

status=0
"$stagecc" keygen -o keys --workers 2 > out 2>&1 || status=$?
grep -q "built without it" out && { cat out; exit 77; }
[ $status = 0 ] || { cat out; fail "status $status"; }

cat > check.py <<'PYTHON'
import ctypes, json, os, stat, sys

folder, names = sys.argv[1], sys.argv[2:]
zmq = ctypes.CDLL("libzmq.so.5")
secrets = set()

def read(name):
    path = os.path.join(folder, name + ".key")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path
    lines = open(path).read().split("\n")
    assert lines[0] == "stagecc key 1" and lines[-1] == "", path
    key = dict(line.split(" ") for line in lines[1:-1])
    assert key["name"] == name and key["secret"] not in secrets, path
    secrets.add(key["secret"])
    made = ctypes.create_string_buffer(41)
    assert zmq.zmq_curve_public(made, key["secret"].encode()) == 0
    assert made.value.decode() == key["public"], path
    return key

master = read("master")
assert set(master) == {"name", "public", "secret"}
workers = [read(name) for name in names]
assert all(set(w) == {"name", "public", "secret", "master"} for w in workers)
assert all(w["master"] == master["public"] for w in workers)
listed = [line.split() for line in open(os.path.join(folder, "workers.allow")) if line[0] != "#"]
assert listed == [[w["public"], w["name"]] for w in workers], listed
texts = open("out").read() + open(os.path.join(folder, "workers.allow")).read()
assert not any(s in texts for s in secrets), "a secret was shown"
assert sorted(os.listdir(folder)) == sorted([n + ".key" for n in ["master"] + names] + ["workers.allow"])
PYTHON
python3 check.py keys worker1 worker2

# More of them; what is there keeps its bytes and its times
first_keys() { stat -c '%n %i %y %z' keys/{master,worker1,worker2}.key; sha256sum keys/{master,worker1,worker2}.key; }
before=$(first_keys)
"$stagecc" keygen -o keys --workers 3 > out 2>&1
"$stagecc" keygen -o keys rack-7 >> out 2>&1
python3 check.py keys worker1 worker2 worker3 rack-7
[ "$before" = "$(first_keys)" ] || fail "keys that were there have changed"

# A key that was taken to its worker is known by its line, and remarks in the list stay
mkdir away
mv keys/worker2.key away/
sed -i 's/ worker2$/ worker2 # in the cellar/' keys/workers.allow
"$stagecc" keygen -o keys --workers 3 > out 2>&1
[ ! -e keys/worker2.key ] || fail "worker2 was made twice"
"$stagecc" keygen -o keys worker2 > out 2>&1 && fail "worker2 was made twice"
grep -q 'keys/workers.allow:3:1: error: worker2 has a key already' out || { cat out; fail "where is its line?"; }
truncate -s -1 keys/workers.allow # as an editor may leave its last line
"$stagecc" keygen -o keys worker4 > out 2>&1
grep -q ' worker2 # in the cellar$' keys/workers.allow || fail "a remark is gone"

# Replaced: another key in the same line, and nothing else is another one
old=$(cat keys/workers.allow)
"$stagecc" keygen -o keys --json --replace rack-7 > out 2>&1
diff <(echo "$old") keys/workers.allow > changes && fail "rack-7 has its old key"
[ "$(grep -c '^[<>]' changes)" = 2 ] && [ "$(grep -c ' rack-7$' changes)" = 2 ] || { cat changes; fail "more was replaced"; }
python3 - <<'PYTHON'
import json
said = json.load(open("out"))
line = next(line for line in open("keys/workers.allow") if line.endswith(" rack-7\n"))
assert said["workers"] == [{"name": "rack-7", "file": "keys/rack-7.key", "public": line.split()[0], "state": "replaced"}], said
assert said["master"]["state"] == "kept" and said["allow"] == "keys/workers.allow", said
PYTHON
mv away/worker2.key keys/
sed -i 's/ # in the cellar$//' keys/workers.allow
python3 check.py keys worker1 worker2 worker3 rack-7 worker4

# ZeroMQ takes them: a worker talks to the master that it pins, and to no other
cat > talk.py <<'PYTHON'
import ctypes, sys

zmq = ctypes.CDLL("libzmq.so.5")
zmq.zmq_ctx_new.restype = zmq.zmq_socket.restype = ctypes.c_void_p
DEALER, RCVTIMEO, LINGER, CURVE_SERVER, PUBLICKEY, SECRETKEY, SERVERKEY, LAST_ENDPOINT = 5, 27, 17, 47, 48, 49, 50, 32

def read(path):
    return dict(line.split() for line in open(path).read().split("\n")[1:-1])

def setting(socket, option, value):
    data = value.encode() if isinstance(value, str) else value.to_bytes(4, "little")
    assert zmq.zmq_setsockopt(ctypes.c_void_p(socket), option, data, len(data)) == 0, option

def talks(master, worker, wait_ms):
    context = ctypes.c_void_p(zmq.zmq_ctx_new())
    server, client = (zmq.zmq_socket(context, DEALER) for _ in "sc")
    for socket in (server, client):
        setting(socket, RCVTIMEO, wait_ms)
        setting(socket, LINGER, 0)
    setting(server, CURVE_SERVER, 1)
    setting(server, SECRETKEY, master["secret"])
    setting(client, SERVERKEY, worker["master"])
    setting(client, PUBLICKEY, worker["public"])
    setting(client, SECRETKEY, worker["secret"])
    where, size, got = ctypes.create_string_buffer(100), ctypes.c_size_t(100), ctypes.create_string_buffer(10)
    assert zmq.zmq_bind(ctypes.c_void_p(server), b"tcp://127.0.0.1:*") == 0
    assert zmq.zmq_getsockopt(ctypes.c_void_p(server), LAST_ENDPOINT, where, ctypes.byref(size)) == 0
    assert zmq.zmq_connect(ctypes.c_void_p(client), where.value) == 0
    assert zmq.zmq_send(ctypes.c_void_p(client), b"hello", 5, 0) == 5
    n = zmq.zmq_recv(ctypes.c_void_p(server), got, 10, 0)
    for socket in (server, client):
        zmq.zmq_close(ctypes.c_void_p(socket))
    zmq.zmq_ctx_term(context)
    return n == 5 and got.value == b"hello"

master, worker, other = (read(path) for path in sys.argv[1:])
assert talks(master, worker, 20000)
assert not talks(other, worker, 500)
PYTHON
"$stagecc" keygen -o other > out 2>&1
python3 talk.py keys/master.key keys/worker1.key other/master.key

# A line that was struck out stays so: its worker is not let in again by the way
sed -i '/ worker3$/d' keys/workers.allow
"$stagecc" keygen -o keys --workers 3 > out 2>&1
grep -q 'worker3: kept, and not let in' out || { cat out; fail "worker3 is not told"; }
grep -q worker3 keys/workers.allow && fail "worker3 is let in again"

# Folders in which nothing can be read or made; root has to be somebody else for that
chmod 755 .
nobody=()
[ "$(id -u)" != 0 ] || nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
refused() { # TEXT: what a call says that cannot work
    local status=0
    "${nobody[@]}" "$stagecc" keygen -o keys worker9 > out 2>&1 || status=$?
    [ $status != 0 ] && grep -q "error: $1: Permission denied" out || { cat out; fail "status $status, no \`$1\`"; }
}
if "${nobody[@]}" "$stagecc" --version > /dev/null 2>&1; then
    chmod 000 keys
    refused "cannot read the allow list"
    chmod 500 keys
    [ "$(id -u)" != 0 ] || chown -R 65534:65534 keys
    refused "cannot be written"
    chmod 700 keys
fi
[ -z "$(find keys -name '*.tmp')" ] || fail "left behind: $(ls keys)"
echo "keygen: keys are pairs, private, pinned and kept, and ZeroMQ takes them"
