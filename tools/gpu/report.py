"""What a run says: a line a check at once, a table at the end, JSON and text in files."""
import json
import time

MOST = 700  # characters of a line
PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"


class Report:
    def __init__(self):
        self.rows, self.begin, self.step = [], time.monotonic(), None
        self.since = self.begin

    def begin_step(self, number, name):
        self.step, self.since = (number, name), time.monotonic()

    def add(self, name, status, text="", **figures):
        """One check; its seconds are those since the last one of the step. figures: numbers for the JSON."""
        now, text = time.monotonic(), " | ".join(line.strip() for line in text.strip().splitlines())[:MOST]
        row = {"step": self.step[0], "of": self.step[1], "name": name, "status": status, "seconds": round(now - self.since, 2),
               "text": text, **({"figures": figures} if figures else {})}
        self.since = now
        self.rows.append(row)
        print(line_of(row) + "\n", end="", flush=True)  # in one piece: others may write, too

    def passed(self, name, text="", **figures):
        self.add(name, PASSED, text, **figures)

    def failed(self, name, text, **figures):
        self.add(name, FAILED, text, **figures)

    def not_run(self, name, why):
        self.add(name, NOT_RUN, why)

    def judge(self, name, good, text="", **figures):
        self.add(name, PASSED if good else FAILED, text, **figures)

    def count(self, status):
        return sum(row["status"] == status for row in self.rows)

    def summary(self):
        return (f"{self.count(PASSED)} passed, {self.count(FAILED)} FAILED, {self.count(NOT_RUN)} not run, "
                f"{time.monotonic() - self.begin:.0f} s")

    def table(self):
        lines, step = [], None
        for row in self.rows:
            if row["step"] != step:
                step = row["step"]
                lines.append(f"{step}. {row['of']}")
            lines.append("  " + line_of(row, number=False))
        return "\n".join([*lines, self.summary()])

    def write(self, folder, name, facts):
        """folder/NAME.json and folder/NAME.txt. facts: what was known of the machine."""
        folder.mkdir(parents=True, exist_ok=True)
        whole = {"date": time.strftime("%Y-%m-%d %H:%M"), "summary": self.summary(), **facts, "checks": self.rows}
        (folder / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
        (folder / f"{name}.txt").write_text(self.table() + "\n")


def line_of(row, number=True):
    head = f"[{row['step']:2}] " if number else ""
    return f"{head}{row['name']:<44} {row['status']:<8} {row['seconds']:6.1f} s  {row['text']}".rstrip()
