"""Strangers, and a worker's key in wrong hands, at the ports of a master and of a worker while they train: whoever proves no
key that is listed is closed at once, whoever does and says nonsense is not believed, and training has the losses of a run
that nobody disturbed.

  strangers.py STAGECC
"""
import ctypes
import os
import pathlib
import random
import select
import socket
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cluster import Cluster

CLOSED_S, GROWN_KIB = 1.5, 1024
SANITIZED = "STAGECC_SANITIZED" in os.environ  # which keeps what is freed
LISTED_KIB = 4096  # of who may say frames of 1 MiB
LATE = float(os.environ.get("LATE", 2))  # so many times that, on machines that have other things to do
FLOOD = 10 << 20
chance = random.Random(1)


# What the system knows
def peak_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])


def listening_ports(pid):
    """Of a worker: that of the control plane, which greets, and its data port, which waits for a ticket."""
    inodes = {os.readlink(f) for f in pathlib.Path(f"/proc/{pid}/fd").iterdir() if f.is_symlink()}
    greets = {}
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        f = line.split()
        if f[3] != "0A" or f"socket:[{f[9]}]" not in inodes:
            continue
        port = int(f[1].split(":")[1], 16)
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            greets[s.recv(1) == b"\xff"] = port  # who says nothing is closed on after a second
    assert greets.keys() == {True, False}, f"process {pid} listens at {greets}"
    return greets[True], greets[False]


# Those who prove nothing: what they say, as ZMTP (https://rfc.zeromq.org/spec/23) has it
def greeting(mechanism):
    return b"\xff\0\0\0\0\0\0\0\1\x7f\3\0" + mechanism.ljust(20, b"\0") + bytes(32)


def command(size, body):
    return b"\6" + struct.pack(">Q", size) + body


STRANGERS = {
    "says nothing": b"",
    "random bytes": chance.randbytes(FLOOD),
    "HTTP": b"GET / HTTP/1.1\r\nHost: stagecc\r\n\r\n",
    "no key (NULL)": greeting(b"NULL") + b"\4\x19\5READY\x0bSocket-Type\0\0\0\6DEALER" + chance.randbytes(FLOOD),
    "oversized frame": greeting(b"CURVE") + command(FLOOD, chance.randbytes(FLOOD)),
    "longest frame": greeting(b"CURVE") + command(32 << 10, chance.randbytes(FLOOD)),
    "truncated frame": greeting(b"CURVE") + command(30000, chance.randbytes(29000)),
    "bad HELLO": greeting(b"CURVE") + b"\4\xc8\5HELLO\1\0" + chance.randbytes(192),
}


def visit(port, speech):
    """Seconds until it was closed."""
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.setblocking(False)
        while time.monotonic() - begin < 10:
            ready = select.select([s], [s] if speech else [], [], 0.05)
            try:
                if ready[1]:
                    speech = speech[s.send(speech[:65536]):]
                if ready[0] and not s.recv(65536):
                    break
            except OSError:
                break
    return time.monotonic() - begin


def scan(port):
    for _ in range(200):
        socket.create_connection(("127.0.0.1", port)).close()
    return 0


class Between:
    """Passes on what one client and a port say, records the client, and knows when the port has hung up."""

    def __init__(self, port):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port, self.to = self.listening.getsockname()[1], port
        self.said, self.open_s = b"", None
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        near = self.listening.accept()[0]
        self.listening.close()
        far = socket.create_connection(("127.0.0.1", self.to))
        begin = time.monotonic()
        with near, far:
            while True:
                for s in select.select([near, far], [], [])[0]:
                    try:
                        data = s.recv(65536)
                        (far if s is near else near).sendall(data)
                    except OSError:
                        data = b""
                    if s is near:
                        self.said += data
                    if not data:
                        self.open_s = time.monotonic() - begin
                        return


# Those who have a key
class Client:
    """A socket of ZeroMQ with CURVE, as control/zmq/net_socket.c makes them."""
    zmq = ctypes.CDLL("libzmq.so.5")
    zmq.zmq_ctx_new.restype = zmq.zmq_socket.restype = ctypes.c_void_p
    zmq.zmq_socket.argtypes = [ctypes.c_void_p, ctypes.c_int]
    zmq.zmq_setsockopt.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    zmq.zmq_connect.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    zmq.zmq_send.argtypes = zmq.zmq_recv.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    zmq.zmq_close.argtypes = [ctypes.c_void_p]
    context = zmq.zmq_ctx_new()
    DEALER, LINGER, RECONNECT_IVL, SNDHWM, PUBLIC, SECRET, SERVER, DONTWAIT, MORE, PART = 5, 17, 18, 23, 48, 49, 50, 1, 2, 32 << 10

    def __init__(self, port, key, server):
        self.socket = self.zmq.zmq_socket(self.context, self.DEALER)
        for option, value in ((self.LINGER, 0), (self.RECONNECT_IVL, -1), (self.SNDHWM, 0)):
            self.zmq.zmq_setsockopt(self.socket, option, struct.pack("<i", value), 4)
        for option, value in ((self.PUBLIC, key["public"]), (self.SECRET, key["secret"]), (self.SERVER, server)):
            self.zmq.zmq_setsockopt(self.socket, option, value.encode(), len(value) + 1)
        self.zmq.zmq_connect(self.socket, f"tcp://127.0.0.1:{port}".encode())

    def say(self, frame):
        parts = [frame[i:i + self.PART] for i in range(0, max(len(frame), 1), self.PART)]
        for i, part in enumerate(parts):
            self.zmq.zmq_send(self.socket, part, len(part), self.DONTWAIT | (self.MORE if i + 1 < len(parts) else 0))

    def heard(self):
        room, frames, frame = ctypes.create_string_buffer(1 << 16), [], b""
        while (n := self.zmq.zmq_recv(self.socket, room, len(room), self.DONTWAIT)) >= 0:
            frame += room.raw[:n]
            if n < self.PART:
                frames.append(frame)
                frame = b""
        return frames

    def close(self):
        self.zmq.zmq_close(self.socket)


def read_key(file):
    return dict(line.split(None, 1) for line in file.read_text().splitlines()[1:])


# Messages (control/message.h)
def message(id, fields, text=b""):
    return struct.pack("<HHI", VERSION, id, 8 + len(fields) + len(text)) + fields + text


VERSION = 3
HELLO, ORDER, BEAT, STOPPED, RUNNING = 1, 5, 4, 0, 3
SIZES = {1: 48, 2: 16, 3: 16, 4: 224, 5: 40, 6: 2224, 7: 16, 8: 16, 9: 8, 10: 40, 11: 40, 12: 48, 13: 8, 14: 16, 15: 16, 16: 16, 17: 16, 18: 32, 19: 32, 20: 32, 21: 2224, 22: 16, 23: 56, 24: 16}
U64 = 2**64 - 1


def hello(incarnation, memory=1 << 30, slots=1, speed=1000, text=b'{"name": "liar", "peer": "tcp://127.0.0.1:9"}'):
    return message(HELLO, struct.pack("<QQII16sII", incarnation, memory, slots, speed, b"avx2", 0, 0), text)


def beat(incarnation, epoch, phase, held=(), committed=0):
    states = b"".join(struct.pack("<QQQ", *h) for h in held)
    return message(BEAT, struct.pack("<QQQII", incarnation, epoch, committed, phase, len(held)) + states.ljust(192, b"\0"))


def report(epoch, rank, text):
    return message(15, struct.pack("<QII", epoch, rank, 0), text)


def nonsense(epoch):
    """Frames of who has a listed key and means no good, for a master or a worker."""
    for n in (0, 1, 7, 8, 9, 100, 40000, 1 << 20):
        yield chance.randbytes(n)
    for id, size in SIZES.items():  # of all senders: START, ORDER, LEAVE, …
        yield message(id, chance.randbytes(size))
        yield message(id, bytes(size), b"{}")
        yield message(id, struct.pack("<Q", epoch) + bytes(size - 8), chance.randbytes(200))
        yield message(id, bytes(size))[:-1]
    yield message(15, struct.pack("<QII", epoch, 0, 0), b"x" * ((1 << 20) - 100))


def lies(epoch, step, mine):
    """Frames that the table allows, to a master."""
    for _ in range(100):
        held = [[chance.getrandbits(64) for _ in range(3)] for _ in range(chance.randrange(7))]
        yield beat(mine, chance.randrange(epoch + 1), chance.randrange(4), held, chance.getrandbits(64))
    yield beat(mine + 1, epoch, RUNNING)
    for rank in range(4):
        for first, last in ((0, U64), (1, 1), (5, 4), (0, 0), (U64, U64)):
            yield message(10, struct.pack("<QQQQII", epoch, first, last, chance.choice((1, U64)), rank, 0))
        for e in (0, 1, epoch - 1, epoch, epoch + 1, U64):
            yield message(7, struct.pack("<QIi", e & U64, rank, -1), b"\x1b[31mgone\n")
            yield message(8, struct.pack("<QII", e & U64, rank, 0), b"\x1b[2Jno\n")
            yield report(e & U64, rank, b'{"event":"error","status":1,"message":"\\u001b[2Jends the job\\n"}')
            yield report(e & U64, rank, b'{"event":"done","steps":1}')
            yield report(e & U64, rank, b'{"event":"start","step":0,"last_step":1}')
            for s in (-1, 0, step, step + 1, step + 2, step + 3, step + 4, step + 100, 2**62):
                yield report(e & U64, rank, b'{"event":"step","step":%d,"loss":7,"loss_bits":"40e00000"}' % s)
            yield report(e & U64, rank, b"[" * 8000)
            yield report(e & U64, rank, b'{"event":{},"step":[]}')
    for offset in (0, 1 << 40, U64):
        yield message(11, struct.pack("<32sQ", chance.randbytes(32), offset))
    for text in (b'{"command":"rescale","workers":1}', b'{"command":"drain","worker":"worker1"}', b"{" * 60000):
        yield message(13, struct.pack("<Q", 1), text)


def peer_lies(epoch):
    """Frames that the table allows, to another worker."""
    for rank in range(4):
        for e in (epoch, epoch + 1, U64, 0):
            yield message(16, struct.pack("<QII", e, rank, 0), chance.randbytes(320))
            yield message(17, struct.pack("<QII", e, rank, 0), chance.randbytes(1024))
            yield message(20, struct.pack("<QQQII", e, chance.getrandbits(64), e, rank, 0))
    for request in range(20):
        yield message(19, struct.pack("<Q16sII", request, chance.randbytes(16), chance.choice((0, 9, 65535)), 0))
        yield message(18, struct.pack("<QQQQ", request, request, 1, chance.choice((0, 1, U64))))


# The visits
class Table:
    def __init__(self, c):
        self.c, self.wrong = c, []

    def __call__(self, name, where, pid, do, most_kib=GROWN_KIB):
        step, before = self.c.status()["step"], peak_kib(pid)
        closed = do()
        time.sleep(0.1)
        grown = peak_kib(pid) - before
        row = f"{name:24} {where:8} {1e3 * closed:8.0f} ms {grown:6d} KiB   step {step} to {self.c.status()['step']}"
        print(row, flush=True)
        if closed > LATE * CLOSED_S or (grown >= most_kib and not SANITIZED):
            self.wrong.append(row)


def closed_by(port, key, server, frames=()):
    """How long a client with this key was let be, up to 3 s."""
    between = Between(port)
    client = Client(between.port, key, server)
    end = time.monotonic() + 3
    while between.open_s is None and time.monotonic() < end:
        for frame in frames:
            client.say(frame)
        time.sleep(0.05)
    client.close()
    time.sleep(0.1)
    return between


def strangers(c, table):
    """Those without a listed key, at both ports."""
    c.folder.joinpath("others").mkdir()
    c.run("keygen", "-o", "others/keys", "--workers", 1)
    other = read_key(c.folder / "others/keys/worker1.key")
    listed = {"master": read_key(c.folder / "keys/worker4.key"), "worker1": read_key(c.folder / "keys/worker2.key")}
    servers = {"master": read_key(c.folder / "keys/master.key")["public"], "worker1": read_key(c.folder / "keys/worker1.key")["public"]}
    control, data = listening_ports(c.workers[1].pid)
    ports = {"master": (c.master.pid, c.port), "worker1": (c.workers[1].pid, control)}
    for name, speech in STRANGERS.items():
        table(name, "data port", c.workers[1].pid, lambda: visit(data, speech))
    table("opens and closes, 200 x", "data port", c.workers[1].pid, lambda: scan(data))
    for where, (pid, port) in ports.items():
        for name, speech in STRANGERS.items():
            table(name, where, pid, lambda: visit(port, speech))
        table("opens and closes, 200 x", where, pid, lambda: scan(port))
        table("a key that is not listed", where, pid, lambda: closed_by(port, other, servers[where], [b"x" * 100]).open_s or 99)
        recorded = closed_by(port, listed[where], servers[where], []).said
        assert len(recorded) > 400, "no handshake was recorded"
        table("replayed handshake", where, pid, lambda: visit(port, recorded))
    stranger = c.folder / "stranger.key"
    stranger.write_text((c.folder / "others/keys/worker1.key").read_text().replace(other["master"], servers["master"]))
    stranger.chmod(0o600)
    w = c.start("stranger", "worker", "--master", f"127.0.0.1:{c.port}", "--key", "stranger.key", "--dir", "cache-stranger")
    time.sleep(3)
    assert w.poll() is None and len(c.status()["workers"]) == 3
    w.kill()
    w.wait()


class Liar:
    """A listed worker that is a member, and holds and runs nothing."""
    incarnation = 4711

    def __init__(self, c):
        self.cluster, self.key, self.epoch = c, read_key(c.folder / "keys/worker4.key"), 0
        self.client = Client(c.port, self.key, self.key["master"])
        self.say_sane(hello)

    def say_sane(self, first=None):
        """What keeps nobody waiting."""
        if first:
            self.client.say(first(self.incarnation))
        for frame in self.client.heard():
            version, id, size = struct.unpack_from("<HHI", frame)
            if id == ORDER:
                (self.epoch,) = struct.unpack_from("<Q", frame, 8)
        self.client.say(beat(self.incarnation, self.epoch, STOPPED))

    def stay(self, done):
        end = time.monotonic() + 120
        while not done():
            assert time.monotonic() < end and self.cluster.master.poll() is None, self.cluster.all_logs()
            self.say_sane()
            time.sleep(0.05)


def liars(c, table):
    """Somebody has the key of a worker that is listed."""
    pid = c.master.pid
    liar = Liar(c)
    liar.stay(lambda: len(c.status()["workers"]) == 4 and liar.epoch)
    events = c.status()["events"]

    def tell(frames):
        for frame in frames:
            liar.client.say(frame)
        liar.say_sane()
        step = c.status()["step"]
        liar.stay(lambda: c.status()["step"] > step)
        return 0

    table("nonsense, key listed", "master", pid, lambda: tell(nonsense(liar.epoch)), LISTED_KIB)
    table("lies, key listed", "master", pid, lambda: tell(lies(liar.epoch, c.status()["step"], liar.incarnation)), LISTED_KIB)
    for _ in range(3):  # it does not grow each time
        table("both again", "master", pid, lambda: tell([*nonsense(liar.epoch), *lies(liar.epoch, c.status()["step"], liar.incarnation)]), LISTED_KIB)
    table("and again", "master", pid, lambda: tell([*nonsense(liar.epoch), *lies(liar.epoch, c.status()["step"], liar.incarnation)]))
    after = c.status()
    assert len(after["events"]) - len(events) < 20, after["events"]
    assert not any(ch < " " for e in after["events"] for ch in e["text"])
    # A peer of the next epoch, which runs on two workers.
    c.rescale("-n", 2)
    liar.stay(lambda: c.status()["phase"] == "running" and len(c.status()["plan"]["stages"]) == 2)
    worker, port = c.workers[1], listening_ports(c.workers[1].pid)[0]
    peer = Client(port, liar.key, read_key(c.folder / "keys/worker1.key")["public"])

    def tell_peer():
        for frame in [*nonsense(liar.epoch), *peer_lies(liar.epoch)]:
            peer.say(frame)
        step = c.status()["step"]
        liar.stay(lambda: c.status()["step"] > step)
        peer.heard()
        return 0

    table("lies of a peer", "worker1", worker.pid, tell_peer, LISTED_KIB)
    table("future epoch", "master", pid, lambda: tell([beat(liar.incarnation, liar.epoch + 1, RUNNING)]))
    peer.close()
    liar.client.close()
    c.rescale("-n", 3)
    c.wait_stages(3, 300)


def same_key(c):
    """The later one wins (docs/control.md); its states are its neighbour's."""
    first = c.workers.pop(2)
    c.workers[2] = c.start("worker2b", "worker", "--master", f"127.0.0.1:{c.port}", "--key", "keys/worker2.key", "--dir", "cache2b")
    c.wait("a later worker2", lambda s: s["phase"] == "running" and c.programs(2))
    assert first.poll() is None
    first.kill()
    first.wait()
    step = c.status()["step"]
    c.wait_step(step + 2)


def main():
    with tempfile.TemporaryDirectory() as folder:
        c = Cluster(sys.argv[1], pathlib.Path(folder) / "cluster", steps=int(os.environ.get("STEPS", 300)), rehearse=int(os.environ.get("REHEARSE", 100)), keys=5)
        table = Table(c)
        try:
            c.start_master()
            for i in (1, 2, 3):
                c.start_worker(i)
            c.wait_stages(3, 300)
            for part in (strangers, liars):
                part(c, table)
            same_key(c)
            assert not table.wrong, table.wrong
            c.wait_end(seconds=300)
            c.check()
            print("the same bits")
        finally:
            c.stop()


main()
