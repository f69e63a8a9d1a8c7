"""How rows of `trends` differ from the exact ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.store import Row, Unequal


@dataclass(frozen=True)
class Difference:
    """Sums over all rows: what is missing, and what is too much."""

    lost_impressions: int
    lost_plays: int
    extra_impressions: int
    extra_plays: int
    rows: int

    def is_exact(self) -> bool:
        return self.rows == 0

    def extra(self) -> int:
        return self.extra_impressions + self.extra_plays


def difference(rows: Sequence[Row], exact: Sequence[Row]) -> Difference:
    """Compares rows (video, epoch, plays, impressions) with the exact ones."""
    ours, theirs = ({row[:2]: row[2:] for row in these} for these in (rows, exact))
    if len(ours) != len(rows):
        raise Unequal(f"{len(rows)} rows, but {len(ours)} pairs of video and epoch")
    pairs = [(ours.get(key, (0, 0)), theirs.get(key, (0, 0))) for key in ours | theirs]
    return Difference(
        lost_plays=sum(max(right[0] - got[0], 0) for got, right in pairs),
        lost_impressions=sum(max(right[1] - got[1], 0) for got, right in pairs),
        extra_plays=sum(max(got[0] - right[0], 0) for got, right in pairs),
        extra_impressions=sum(max(got[1] - right[1], 0) for got, right in pairs),
        rows=sum(got != right for got, right in pairs),
    )


def share(part: int, whole: int) -> str:
    """A part in percent, with its number."""
    return "0" if part == 0 else f"{100 * part / whole:.2f} % ({part:,})"
