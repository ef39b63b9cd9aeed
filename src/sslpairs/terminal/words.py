"""Words for people."""


def duration(seconds: float) -> str:
    """For example '2 h 05 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def counted(number: int, thing: str) -> str:
    """For example '1 run' and '2,000 runs'."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
