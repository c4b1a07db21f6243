"""What the tests of bits share."""
import hashlib
import json
import subprocess
import sys


def run(command):
    """What it prints; the test ends where it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def tensors(checkpoint):
    """{name: hash of its bytes} over all shards of a checkpoint directory."""
    found = {}
    for shard in sorted(checkpoint.glob("*.safetensors")):
        raw = shard.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        for name, entry in json.loads(raw[8 : 8 + size]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                found[name] = hashlib.sha256(raw[8 + size + begin : 8 + size + end]).hexdigest()
    return found


def losses(log):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [(line["step"], line["loss_bits"]) for line in lines if "step" in line and "loss_bits" in line]


def told(log):
    """What a run says of steps and evaluations, without its times."""
    kept = ("step", "loss_bits", "test_loss", "test_accuracy", "test_top5", "samples")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [{k: line[k] for k in kept if k in line} for line in lines if "loss_bits" in line or "test_loss" in line]


def devices(path, *backends):
    """devices.json of one host, with a device for each of these backends."""
    path.write_text(json.dumps({
        "devices": [{"name": f"d{i}", "host": "here", "backend": b} for i, b in enumerate(backends)],
        "links": [{"from": "here", "to": "here", "bytes_per_s": 1e10}]}))
    return path
