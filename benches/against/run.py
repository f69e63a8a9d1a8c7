"""trendmark against other ways to compute its rows: compares the rows first, then measures.

Run it with the Python of the environment that setup.sh creates. See README.md.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import batch.main
import streaming.main
import talk.main
from common.build import build
from common.context import Context
from common.sides import Sides

COMPARISONS = {"batch": batch.main, "talk": talk.main, "streaming": streaming.main}


def main() -> None:
    arguments = parse_arguments()
    comparison = COMPARISONS[arguments.comparison]
    profile = arguments.profile or ("dev" if arguments.small else "release")
    programs = build(profile, arguments.trendmark, comparison.EXAMPLES)
    with tempfile.TemporaryDirectory(prefix="against-") as temporary:
        work = Path(arguments.data or temporary)
        work.mkdir(parents=True, exist_ok=True)
        # A copy, as the program may be rebuilt while this runs.
        sides = Sides(Path(shutil.copy(programs["trendmark"], work / "trendmark")), work)
        context = Context(sides, work, programs, arguments)
        if arguments.small:
            comparison.check(context)
            return
        text = comparison.measure(context)
    if arguments.out:
        arguments.out.write_text(text)
    else:
        print(text)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    comparisons = parser.add_subparsers(dest="comparison", required=True)
    for name, comparison in COMPARISONS.items():
        one = comparisons.add_parser(name, description=comparison.__doc__)
        add_flags(one)
        comparison.add_flags(one)
    return parser.parse_args()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of every comparison."""
    add = parser.add_argument
    add("--small", action="store_true", help="check the rows on small logs without timing")
    add("--impressions", type=int, help="impressions of the log")
    add("--rounds", type=int, default=5, help="runs of each side [default: 5]")
    add("--data", type=Path, help="folder to keep the logs in [default: a temporary folder]")
    add("--profile", help="profile of cargo [default: release; dev with --small]")
    add("--trendmark", type=Path, help="program to measure [default: build it]")
    add("--out", type=Path, help="file for the tables [default: standard output]")


if __name__ == "__main__":
    main()
