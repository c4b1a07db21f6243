#!/usr/bin/env python3
"""Golden tests: one file holds command, reason, input and expectation.

    golden.py --stagecc EXE [--bless] FILE...

    # RUN: check %s --emit=ir        a command line for EXE; several RUN lines run in this order
    # WHY: one line
    # EXIT: 1                        exit status of every command (default 0), or one for each
    # ENV: NAME=VALUE                for every command; BUILD in it is the folder of EXE
    # SHOW: out/stage0.c             a file that the commands wrote, shown behind their output
    # FILE: model.c                  what the next lines are called (default: TESTNAME.ir); %s is
    ...                              the first one; more FILE lines begin further files; what begins
                                     with "#!" can be executed
    # EXPECT
    # output of all commands, stdout and stderr as they came, each line after "# "

Commands run in a temporary directory that holds the files, so names are relative and line numbers
count from the line behind FILE; the folder of EXE is shown as BUILD, the C++ compiler's path as its name. What differs from run to run
(speed, time, process numbers) is shown as `*`. C bodies may write `//` for `#`.
--bless rewrites what stands behind EXPECT; review the diff. Exit status: 0 all as expected, 1 some not, 2 a test file is wrong.
"""
import argparse
import difflib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

MARK = re.compile(r"(#|//) (?:(RUN|WHY|EXIT|ENV|SHOW|FILE): *(.*)|(EXPECT))")
TIMEOUT_S = 100
FLEETING = re.compile(rb"(?<= )[\d.]+(?= (?:samples|tokens)/s)|[\d]+:[\d]+(?= left)|(?<=steps, )[\d.]+(?= s,)|(?<=\(process )\d+|(?<=planned in )[\d.]+ \w+")


class WrongTest(Exception):
    pass


class Golden:
    """A test file, taken apart."""

    def __init__(self, path):
        self.path = path
        self.runs, self.why, self.exits, self.shows = [], None, [0], []
        self.env = {}
        self.files = []  # [name, lines]
        self.expect = None  # lines; None: no EXPECT yet
        self.head = []  # the file's lines up to EXPECT, for --bless
        self.comment = "#"
        name = os.path.splitext(os.path.basename(path))[0]
        with open(path, encoding="utf-8", newline="\n") as f:
            lines = f.read().split("\n")
        if lines and not lines[-1]:
            lines.pop()
        for number, line in enumerate(lines, 1):
            if self.expect is not None:
                self.expect.append(self.uncomment(line, number))
            else:
                self.head_line(line, number, name + ".ir")
        if not self.runs or not self.why:
            raise WrongTest(f"{path}: RUN and WHY lines are needed")
        if len(self.exits) not in (1, len(self.runs)):
            raise WrongTest(f"{path}: EXIT wants one number, or one for each RUN")

    def head_line(self, line, number, default_name):
        mark = MARK.fullmatch(line.rstrip())
        if mark:
            self.comment = mark[1]
        if mark and mark[4]:
            self.expect = []
            return
        self.head.append(line)
        if mark and mark[2] == "RUN":
            self.runs.append(mark[3])
        elif mark and mark[2] == "WHY":
            self.why = mark[3]
        elif mark and mark[2] == "EXIT":
            if not mark[3].replace(" ", "").isdigit():
                raise WrongTest(f"{self.path}:{number}: EXIT wants a number")
            self.exits = [int(word) for word in mark[3].split()]
        elif mark and mark[2] == "ENV":
            name, equals, value = mark[3].partition("=")
            if not equals:
                raise WrongTest(f"{self.path}:{number}: ENV wants NAME=VALUE")
            self.env[name] = value
        elif mark and mark[2] == "SHOW":
            self.shows.append(mark[3])
        elif mark:  # FILE
            if not mark[3] or os.path.isabs(mark[3]) or ".." in mark[3].split("/"):
                raise WrongTest(f"{self.path}:{number}: FILE wants a relative name")
            self.files.append((mark[3], []))
        elif self.files or line.strip():
            if not self.files:
                self.files.append((default_name, []))
            self.files[-1][1].append(line)

    def uncomment(self, line, number):
        if line == self.comment:
            return ""
        if not line.startswith(self.comment + " "):
            raise WrongTest(f"{self.path}:{number}: lines behind EXPECT begin with '{self.comment} '")
        return line[len(self.comment) + 1:]

    def write_files(self, directory):
        for name, lines in self.files:
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8", newline="\n") as f:
                f.write("".join(line + "\n" for line in lines))
            if lines and lines[0].startswith("#!"):
                os.chmod(path, 0o755)

    def run(self, exe):
        """Output of all commands as lines, and what is wrong with exit statuses."""
        output, complaints = b"", []
        env = {k: v for k, v in os.environ.items() if not k.startswith("STAGECC_")}
        env.update(LC_ALL="C.UTF-8", NO_COLOR="1", CC="cc", CXX="c++")
        env.update((name, value.replace("BUILD", os.path.dirname(os.path.realpath(exe)))) for name, value in self.env.items())
        with tempfile.TemporaryDirectory(prefix="golden-") as directory:
            self.write_files(directory)
            exits = self.exits * len(self.runs) if len(self.exits) == 1 else self.exits
            for command, wanted in zip(self.runs, exits):
                if "%s" in command and not self.files:
                    raise WrongTest(f"{self.path}: %s, but there is no body")
                if self.files:
                    command = command.replace("%s", self.files[0][0])
                done = subprocess.run([exe] + shlex.split(command), cwd=directory, env=env,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)
                output += done.stdout
                if done.returncode != wanted:
                    complaints.append(f"'{command}' exited with {done.returncode}, not {wanted}")
            for name in self.shows:
                path = os.path.join(directory, name)
                if not os.path.exists(path):
                    complaints.append(f"there is no {name}")
                    continue
                with open(path, "rb") as f:
                    output += b"--- " + name.encode() + b"\n" + f.read()
            output = output.replace(os.path.dirname(os.path.realpath(exe)).encode(), b"BUILD")
            if shutil.which(env["CXX"]):
                output = output.replace(shutil.which(env["CXX"]).encode(), env["CXX"].encode())
            output = FLEETING.sub(b"*", output)
            output = re.sub(rb" -fsanitize=\S+ -fno-sanitize-recover=all", b"", output)
            for spelling in {directory, os.path.realpath(directory)}:
                output = output.replace(spelling.encode() + b"/", b"").replace(spelling.encode(), b".")
        lines = output.decode("utf-8", "backslashreplace").split("\n")
        if lines[-1]:
            return lines + ["\\ no newline at the end"], complaints
        return lines[:-1], complaints

    def bless(self, lines):
        comments = [f"{self.comment} {line}" if line else self.comment for line in lines]
        with open(self.path, "w", encoding="utf-8", newline="\n") as f:
            f.write("\n".join(self.head + [self.comment + " EXPECT"] + comments) + "\n")


def check(path, exe, bless):
    """True: as expected, or made so."""
    golden = Golden(path)
    try:
        lines, complaints = golden.run(exe)
    except subprocess.TimeoutExpired as e:
        print(f"{path}: {e.cmd} ran for more than {TIMEOUT_S} s")
        return False
    for complaint in complaints:
        print(f"{path}: {complaint}")
    if bless and not complaints:
        golden.bless(lines)
        return True
    expect = golden.expect
    if expect is None:
        print(f"{path}: there is no EXPECT; --bless writes it")
        expect = []
    if lines == expect and golden.expect is not None:
        return not complaints
    print(f"{path}: {golden.why}")
    diff = difflib.unified_diff(expect, lines, "expected", "got", lineterm="")
    print("\n".join(diff))
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stagecc", required=True, metavar="EXE")
    parser.add_argument("--bless", action="store_true", help="rewrite what is expected")
    parser.add_argument("files", nargs="+", metavar="FILE")
    args = parser.parse_args()
    exe = os.path.abspath(args.stagecc)
    try:
        good = [check(path, exe, args.bless) for path in args.files]
    except (WrongTest, OSError, ValueError) as e:
        print(e)
        return 2
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
