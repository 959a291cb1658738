"""Runs the Autobahn cases against an echo server on shopwire's connections, and says what came of it.

    python3 tests/conformance/run.py ECHO [CASE...]

ECHO is the program built from examples/echo.rs, CASE an id or a glob (5.*, 7.1.6); without one all cases run. Exit code 0:
each of them is as strict as it can be, or one of EXCEPTIONS; 1: not so; 2: wrong usage. `make conformance` calls it, with
kosoku, which drives the cases, on PYTHONPATH.
"""

import asyncio
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from fnmatch import fnmatch

from kosoku import FailureError, run_fuzzingclient

# The largest message of a case; see 9.1.6 and 9.2.6.
MAX_MESSAGE = "16MiB"
AT_ONCE = 4

# Verdicts other than OK, and why each of them is right. INFORMATIONAL is what a case always says about what RFC 6455 leaves open.
EXCEPTIONS = {
    "7.1.6": ("INFORMATIONAL", "what came before a close frame may be sent or not: a socket that is full is cut"),
    "7.13.*": ("INFORMATIONAL", "close codes that nobody may send: 1002"),
    "12.*": ("UNIMPLEMENTED", "permessage-deflate is not negotiated, and the case sees that it is not"),
    "13.*": ("UNIMPLEMENTED", "permessage-deflate is not negotiated, and the case sees that it is not"),
}


def main(arguments):
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    program, *cases = arguments
    with echo_server(program) as url:
        results = asyncio.run(drive(url, cases or None))
    wrong = [sentence for result in results if (sentence := fault(result))]
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    print(f"{len(results)} cases: {summary(results)}; {len(wrong)} not as they must be")
    return 1 if wrong or not results else 0


@contextmanager
def echo_server(program):
    """A running server: its address. It has to end orderly."""
    server = subprocess.Popen([program, "--max-message", MAX_MESSAGE], stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        ready = re.search(r" ws=(\S+)", line)
        if not ready:
            raise SystemExit(f"{program} did not get ready: {line!r}")
        yield ready[1]
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=30)
        if code != 0:
            raise SystemExit(f"{program} ended with {code}")
    finally:
        server.kill()
        server.wait()


async def drive(url, cases):
    try:
        return await run_fuzzingclient(url, cases, concurrency=AT_ONCE)
    except FailureError as failure:
        # Which verdicts are good enough is decided here.
        return failure.results


def fault(result):
    """What is wrong with a result, if anything is."""
    verdicts = (result.behavior.value, result.behavior_close.value)
    wanted, why = expected(result.case_id)
    if verdicts[0] == wanted and verdicts[1] in ("OK", wanted):
        return None
    reason = f", because {why}" if why else ""
    return (
        f"case {result.case_id} is {verdicts[0]} (closing: {verdicts[1]}) and must be {wanted}{reason}\n"
        f"  it does: {' '.join(result.description.split())}\n"
        f"  it wants: {' '.join(result.expectation.split())}\n"
        f"  it says: {result.result} {result.result_close}"
    )


def expected(case):
    found = (exception for pattern, exception in EXCEPTIONS.items() if fnmatch(case, pattern))
    return next(found, ("OK", None))


def summary(results):
    counts = Counter(result.behavior.value for result in results)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
