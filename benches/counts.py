"""Holds the instruction counts of the benchmarks against the committed ones, or commits new ones.

    python3 benches/counts.py check COUNTS [BASELINE]
    python3 benches/counts.py write COUNTS [BASELINE]

COUNTS is what the benchmark `instructions` prints with --output-format=json: one object a line. BASELINE is
`baseline.toml` beside this file. `check` exits with 1 if a count grew by more than 5 %, or if a case is missing on
either side; 2 is for input that cannot be used. `make bench-check` and `make bench-baseline` call it.
"""

import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

BASELINE = Path(__file__).with_name("baseline.toml")
TOLERANCE_PERCENT = 5
UPDATE = "make bench-baseline"

HEADER = f"""\
# Instructions that each case of the hot path executes: what `make bench-check` holds the code against.
# Written by `{UPDATE}`, which counts anew with Callgrind: the release build's optimization, as one unit, one warm run of each case.
# A count does not depend on the machine's speed or load, but on the compiler, and a little on the C library.
"""


class Unusable(Exception):
    """Input that nothing can be made of; the text says why."""


@dataclass
class Tools:
    """What counts depend on besides the code."""

    rustc: str
    target: str
    valgrind: str

    @classmethod
    def here(cls):
        rustc = output("rustc", "--version", "--verbose")
        target = next(line for line in rustc.splitlines() if line.startswith("host: "))
        return cls(rustc.splitlines()[0], target.removeprefix("host: "), output("valgrind", "--version").strip())


@dataclass
class Verdict:
    """What a comparison came to, in sentences."""

    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: int = 0


def main(arguments):
    if len(arguments) not in (2, 3) or arguments[0] not in ("check", "write"):
        print(__doc__, file=sys.stderr)
        return 2
    action, counts, *rest = arguments
    baseline = Path(rest[0]) if rest else BASELINE
    try:
        measured = read_counts(Path(counts))
        if action == "write":
            baseline.write_text(as_toml(measured, Tools.here()))
            print(f"{baseline}: {len(measured)} cases")
            return 0
        expected, tools = read_baseline(baseline)
    except Unusable as why:
        print(f"bench-check: {why}", file=sys.stderr)
        return 2
    return report(compare(expected, measured, tools, Tools.here()))


def report(verdict):
    for sentence in verdict.notes + verdict.failures:
        print(f"bench-check: {sentence}", file=sys.stderr)
    if verdict.failures:
        print(f"bench-check: failed. If this is meant to be, commit new counts: {UPDATE}", file=sys.stderr)
        return 1
    if verdict.compared:
        print(
            f"bench-check: {verdict.compared} cases, none costs over {TOLERANCE_PERCENT} % more instructions than "
            "its baseline"
        )
    else:
        print("bench-check: all cases ran; nothing was compared")
    return 0


def compare(expected, measured, made_with, tools):
    """Judges `measured` by `expected`; both are {case: count}."""
    verdict = Verdict()
    for case in sorted(expected.keys() - measured.keys()):
        verdict.failures.append(f"{case} is in the baseline, but was not measured")
    for case in sorted(measured.keys() - expected.keys()):
        verdict.failures.append(f"{case} was measured, but is not in the baseline")
    if made_with.target != tools.target:
        verdict.notes.append(
            f"the counts are not compared: the baseline is of {made_with.target}, this is {tools.target}"
        )
        return verdict

    for case in sorted(expected.keys() & measured.keys()):
        verdict.compared += 1
        before, now = expected[case], measured[case]
        change = f"{case}: {before} instructions in the baseline, {now} now ({(now - before) / before:+.1%})"
        if now * 100 > before * (100 + TOLERANCE_PERCENT):
            verdict.failures.append(change)
        elif now * 100 < before * (100 - TOLERANCE_PERCENT):
            verdict.notes.append(f"{change}. Better: update the baseline, so that it stays so: {UPDATE}")
    if verdict.failures and made_with != tools:
        verdict.notes.append(
            f"the baseline was made with {made_with.rustc} and {made_with.valgrind}, this is "
            f"{tools.rustc} and {tools.valgrind}: perhaps nothing else changed"
        )
    return verdict


def read_counts(path):
    """{case: count} of what the benchmarks printed."""
    counts = {}
    for number, line in enumerate(read(path).splitlines(), start=1):
        try:
            summary = json.loads(line)
            case = f"{summary['function_name']}/{summary['id']}"
            (callgrind,) = [run for run in summary["profiles"] if run["tool"] == "Callgrind"]
            count = callgrind["data"]["total"]["metrics"]["Ir"]["values"]["new"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unusable(f"{path}:{number} is not a benchmark's summary: {error!r}") from error
        if not isinstance(count, int) or count <= 0:
            raise Unusable(f"{path}:{number}: {case} has no count of instructions: {count!r}")
        if case in counts:
            raise Unusable(f"{path}:{number}: {case} was measured twice")
        counts[case] = count
    if not counts:
        raise Unusable(f"{path} holds no counts: the benchmarks did not run")
    return counts


def read_baseline(path):
    """{case: count}, and the tools they were made with."""
    try:
        baseline = tomllib.loads(read(path))
        tools = Tools(**baseline["made_with"])
        groups = baseline["instructions"].items()
        counts = {f"{group}/{case}": count for group, cases in groups for case, count in cases.items()}
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(f"{path} is not a baseline, make it anew with {UPDATE}: {error!r}") from error
    for case, count in counts.items():
        if not isinstance(count, int) or count <= 0:
            raise Unusable(f"{path}: {case} must be a count of instructions, not {count!r}")
    return counts, tools


def as_toml(counts, tools):
    groups = {}
    for name, count in sorted(counts.items()):
        group, case = name.split("/")
        groups.setdefault(group, []).append(f"{case} = {count}\n")
    parts = [HEADER]
    made_with = "".join(f"{name} = {json.dumps(value)}\n" for name, value in vars(tools).items())
    parts.append(f"[made_with]\n{made_with}")
    parts += [f"[instructions.{group}]\n{''.join(cases)}" for group, cases in groups.items()]
    return "\n".join(parts)


def read(path):
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error


def output(*command):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unusable(f"{command[0]} does not tell its version: {error}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
