"""Programs of the cuda backend that are killed under the runtime that drives a device (tests/cuda/cudart.cpp) go on with the bits
of a run that nobody disturbed.

  card_restart.py STAGECC SOURCE_DIR TESTS_FOLDER
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from card_link import Linker  # noqa: E402

with tempfile.TemporaryDirectory() as folder:
    tests = pathlib.Path(sys.argv[3])
    os.environ.update(STAGECC_CUDA="emulated", STAGECC_CUDA_LIBS=str(tests / "host_libraries"))
    Linker(pathlib.Path(folder), tests)
    os.environ.update(LINK_CARD="1", ANYWHERE="1")  # by the plan's device, most instructions are too short to be met
    script = pathlib.Path(__file__).with_name("restart.py")
    sys.exit(subprocess.run([sys.executable, script, *sys.argv[1:3], "--backend", "cuda"]).returncode)
