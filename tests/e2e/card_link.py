"""What the tests of programs of the cuda backend share that drive a device which is not there (tests/cuda/cudart.cpp)."""
import os

import bits


class Linker:
    """A compiler that remembers how programs were linked, so that they can be linked anew with another runtime."""

    def __init__(self, work, tests):
        self.cc, self.seen = os.environ.get("CC") or "cc", work / "links"
        self.card = f"-rdynamic -L{tests} -lstagecc-rt-cuda -lcudart_of_tests -lstdc++ -ldl"
        self.wrap(work, "CC", f"""case "$*" in *-lstagecc-rt-emulated*)
    echo "cd $PWD && {self.cc} $*" >> {self.seen}
    [ "$LINK_CARD" ] && exec sh -c "{self.cc} $(echo "$*" | sed 's|-lstagecc-rt-emulated|{self.card}|')" ;;
esac
exec {self.cc} "$@"
""")
        # As if nvcc had compiled the kernels for these.
        self.wrap(work, "CXX", f"""exec {os.environ.get("CXX") or "c++"} '-D__CUDA_ARCH_LIST__=800,900' "$@"\n""")

    @staticmethod
    def wrap(work, name, text):
        wrapper = work / name
        wrapper.write_text("#!/bin/sh\n" + text)
        wrapper.chmod(0o755)
        os.environ[name] = str(wrapper)

    def use_card(self):
        for command in self.seen.read_text().splitlines():
            bits.run(["sh", "-c", command.replace("-lstagecc-rt-emulated", self.card)])
        os.environ["LINK_CARD"] = "1"  # from now on
