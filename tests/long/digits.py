"""ResNet-18 reads handwritten digits: at least 95 % of the test images.

  digits.py STAGECC SOURCE_DIR EPOCHS [BUILD-OPTS ...]
"""
import json
import pathlib
import subprocess
import sys
import tempfile


def main():
    stagecc, source, epochs, *options = sys.argv[1:]
    model, digits = f"{source}/examples/resnet/resnet.c", f"{source}/examples/digits"
    with tempfile.TemporaryDirectory() as folder:
        out, log = pathlib.Path(folder) / "out", pathlib.Path(folder) / "log.json"
        sizes = ["-D", "DEPTH=18", "-D", "IMAGE=16", "-D", "CHANNELS=1", "-D", "CLASSES=10"]
        rate = ["--optimizer", "adam", "--lr", "0.001", "--lr-schedule", "cosine"]
        subprocess.run([stagecc, "build", model, *sizes, *rate, "-o", out, "--no-svg", *options], check=True)
        data = ["--data", f"idx:{digits}/train", "--test-data", f"idx:{digits}/test"]
        subprocess.run([stagecc, "run", out, *data, "--epochs", epochs, "--log-json", log], check=True)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    scores = [line["test_accuracy"] for line in lines if "test_accuracy" in line]
    print(scores)
    sys.exit(scores[-1] < 0.95)


if __name__ == "__main__":
    main()
