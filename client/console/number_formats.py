"""Number formats: figures as a person reads them: durations, rates and ratios."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Returns a duration: 12 s, 3:04 min, 5:07 h, 2 d 3 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole // 60 % 60:02} h"
    return f"{whole // 86400} d {whole // 3600 % 24} h"


def measured(seconds: float) -> str:
    """Returns a duration that was measured, to a tenth of a second below a minute."""
    if round(seconds, 1) >= 60:
        return duration(seconds)
    return f"{seconds:.1f} s" if round(seconds, 1) else "less than 0.1 s"


def rate(per_second: float) -> str:
    """Returns a rate with two decimals, a small one with two digits: one image in five minutes is 0.0033, not 0.00."""
    if per_second >= 0.1 or not per_second:
        return f"{per_second:.2f}"
    return f"{per_second:#.2g}" if per_second >= 1e-4 else "<0.0001"


def multiple(ratio: float, usual: str) -> str:
    """Returns how much something is of what is usual: 1.5 times the default, as much as the default, 4% of the default."""
    percent = round(100 * ratio)
    if percent == 100:
        return f"as much as {usual}"
    if percent >= 110:
        return f"{ratio:.0f} times {usual}" if ratio >= 10 else f"{ratio:.1f} times {usual}"
    return f"{percent}% of {usual}" if percent else f"less than 1% of {usual}"
