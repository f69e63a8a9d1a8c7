"""trendmark against one batch run of DuckDB."""

import argparse

from batch.follow import measure_follow
from batch.formats import FORMS, measure_form
from batch.report import Report
from batch.small import SMALL_LIMITS, check_all
from common.context import Context, note

EXAMPLES = ("batch_sql",)
PUBLISH_INTERVALS = ("1s", "100ms")
IMPRESSIONS_SMALL, IMPRESSIONS = 40_000, 20_000_000


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batches", type=int, default=4, help="batches appended to a job [default: 4]"
    )


def check(context: Context) -> None:
    """Compares every query on small logs with all kinds of disorder."""
    impressions = context.impressions(IMPRESSIONS_SMALL, IMPRESSIONS)
    check_all(context.sides, context.queries(SMALL_LIMITS), context.data, impressions)


def measure(context: Context) -> str:
    """Measures everything and returns the report as text."""
    sides, trends, data = context.sides, context.queries()[0], context.data
    impressions = context.impressions(IMPRESSIONS_SMALL, IMPRESSIONS)
    report = Report(sides, trends, data)
    report.begin(context.platform())
    id_types = {}
    rounds = context.arguments.rounds
    for form in FORMS:
        measured = measure_form(sides, trends, form, data, impressions, rounds, note)
        id_types[form.folder] = measured.id_type
        report.add_form(measured)
    followed = measure_follow(
        sides,
        trends,
        data,
        impressions,
        PUBLISH_INTERVALS,
        rounds,
        context.arguments.batches,
        id_types["jsonl"],
    )
    report.add_followed(followed)
    return report.text()
