"""Every op of the cuda backend on the device of tests/cuda/, against ref in double: what runs is what a card would run, but for who computes.

  ops_card.py STAGECC SOURCE_DIR TESTS_DIR
"""
import os
import pathlib
import subprocess
import sys
import tempfile

STAGECC, SOURCE, TESTS = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
sys.path.insert(0, str(SOURCE / "tests/e2e"))
from card_link import Linker  # noqa: E402

with tempfile.TemporaryDirectory() as folder:
    Linker(pathlib.Path(folder), TESTS)
    env = {**os.environ, "STAGECC_CUDA": "emulated", "STAGECC_CUDA_LIBS": str(TESTS / "host_libraries"), "XDG_CACHE_HOME": folder, "LINK_CARD": "1"}
    for options in [], ["--bf16"], ["--tf32"]:
        subprocess.run([sys.executable, SOURCE / "tests/ops/ops.py", STAGECC, "--backend", "cuda", *options], env=env, check=True)
