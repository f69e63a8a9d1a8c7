"""What is measured: points, and the axes along which they lie.

All points differ from one, the base, in one or two settings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

# A part of the log with 2.5 M events: a twentieth of them plays, and duplicates.
PART_IMPRESSIONS = 2_334_000
PART_EVENTS = 2_500_000


@dataclass(frozen=True)
class Point:
    """A log, and a job that reads it. The defaults are the base."""

    # The part of the log that is repeated: its impressions, and the event time that it takes.
    impressions: int = PART_IMPRESSIONS
    period_ms: int = HOUR_MS
    repetitions: int = 4
    videos: int = 10_000
    videos_per_request: int = 20
    scatter: bool = True
    # Partitions of each of the two logs.
    partitions: int = 8
    epoch_ms: int = 30 * MINUTE_MS
    join_window: int = 4
    query: str = "trends"
    processes: int = 1
    workers: int = 2

    def key(self) -> str:
        """The settings that differ from the base; names the point in the results."""
        differing = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return " ".join(differing) or "base"

    def part_flags(self) -> list[str]:
        """The flags that determine the part."""
        return [
            f"--impressions={self.impressions}",
            f"--period-ms={self.period_ms}",
            f"--videos={self.videos}",
            f"--videos-per-request={self.videos_per_request}",
            f"--scatter={str(self.scatter).lower()}",
        ]

    def job_flags(self) -> list[str]:
        """The flags of the job."""
        return [
            f"--repetitions={self.repetitions}",
            f"--partitions={self.partitions}",
            f"--epoch-ms={self.epoch_ms}",
            f"--join-window={self.join_window}",
            f"--query={self.query}",
            f"--workers={self.workers}",
        ]

    def small(self) -> "Point":
        """The same on a log of a thousandth of the events."""
        few = {200: 10, 40: 8}
        return replace(
            self,
            impressions=max(self.impressions // 1000, 200),
            repetitions=few.get(self.repetitions, self.repetitions),
        )


BASE = Point()

# The text of a value on an axis, and its point.
Series = Sequence[tuple[str, Point]]


@dataclass(frozen=True)
class Axis:
    """A curve or several: what is varied, while all else is as in the base."""

    name: str
    title: str
    series: dict[str, Series]


def along(name: str, values: Sequence[int], of: Point = BASE, unit: str = "") -> Series:
    """Points that differ from `of` in one setting."""
    return [(f"{value:,}{unit}", replace(of, **{name: value})) for value in values]


def epochs(of: Point = BASE) -> Series:
    lengths = {
        "1 min": MINUTE_MS,
        "5 min": 5 * MINUTE_MS,
        "30 min": 30 * MINUTE_MS,
        "2 h": 2 * HOUR_MS,
        "6 h": 6 * HOUR_MS,
        "1 day": 24 * HOUR_MS,
    }
    return [(text, replace(of, epoch_ms=length)) for text, length in lengths.items()]


def events(millions: Sequence[int], of: Point = BASE) -> Series:
    """Logs of an equal rate and more and more event time. The first are less than a part."""

    def point(count: int) -> Point:
        events = count * 1_000_000
        if events >= PART_EVENTS:
            return replace(of, repetitions=events // PART_EVENTS)
        return replace(
            of,
            impressions=PART_IMPRESSIONS * events // PART_EVENTS,
            period_ms=HOUR_MS * events // PART_EVENTS,
            repetitions=1,
        )

    return [(f"{count:,} M", point(count)) for count in millions]


TOGETHER = replace(BASE, scatter=False)
ONE_WORKER = replace(BASE, workers=1)
MINUTES = replace(BASE, epoch_ms=MINUTE_MS)

# Queries, some of whose rows depend on the last seven days.
SCORES = "surge,take_rate,trending,trends"

AXES = [
    Axis(
        "events",
        "Events",
        {
            "scattered": events([1, 5, 10, 20, 100, 500]),
            "together": events([1, 10, 20, 100, 500], TOGETHER),
            "scattered, 1 worker": events([1, 10, 20, 100], ONE_WORKER),
        },
    ),
    Axis("videos", "Videos", {"": along("videos", [1_000, 10_000, 100_000, 1_000_000])}),
    Axis(
        "partitions",
        "Partitions of each log",
        {"": along("partitions", [8, 64, 250, 1_000, 2_000])},
    ),
    Axis("epochs", "Length of an epoch", {"": epochs()}),
    Axis(
        "join-window",
        "Join window, in epochs",
        {
            "epochs of 30 min": along("join_window", [0, 4, 12, 24, 48, 120]),
            "epochs of 1 min": along("join_window", [0, 4, 24, 120], MINUTES),
        },
    ),
    Axis(
        "videos-per-request",
        "Videos of a request",
        {
            "scattered": along("videos_per_request", [1, 5, 20, 50, 200]),
            "together": along("videos_per_request", [1, 5, 20, 50, 200], TOGETHER),
        },
    ),
    Axis(
        "workers",
        "Workers and processes",
        {
            "workers of one process": along("workers", [1, 2, 4]),
            "processes of one worker": along("processes", [1, 2, 3, 4], ONE_WORKER),
        },
    ),
    Axis(
        "queries",
        "Queries",
        {
            "": [
                (name.replace(",", " and "), replace(BASE, query=name))
                for name in ("trends", "take_rate,trends", "choices", "requests")
            ],
            "40 hours": [
                (text, replace(BASE, repetitions=40, query=query))
                for text, query in {"trends": "trends", "with scores": SCORES}.items()
            ],
        },
    ),
]


def points() -> Iterator[Point]:
    """Every point once."""
    everything = (point for axis in AXES for one in axis.series.values() for _, point in one)
    return iter(dict.fromkeys(everything))
