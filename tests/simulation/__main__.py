"""Run seeds by hand: ``python -m tests.simulation FIRST [LAST]``; one alone tells its story."""

from __future__ import annotations

import sys
import time

from tests.simulation.run import simulate
from tests.support.history import summary


def main() -> None:
    """Print what is wrong with each seed."""
    first, last = int(sys.argv[1]), int(sys.argv[-1])
    for seed in range(first, last + 1):
        began = time.process_time()
        outcome = simulate(seed, keep=first == last)
        took = time.process_time() - began
        for line in outcome.lines:
            sys.stdout.write(line + "\n")
        said = f"{seed}: {outcome.digest[:12]} {outcome.seconds:.0f} s in {took:.2f} s"
        sys.stdout.write(f"{said} {summary(outcome.history)} {len(outcome.wrong)} wrong\n")
        for line in outcome.wrong[:20]:
            sys.stdout.write(f"    {line}\n")


if __name__ == "__main__":
    main()
