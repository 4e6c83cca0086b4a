"""Numbers with their nouns, as messages and pages write them."""


def counted(number: int, word: str) -> str:
    """Return a number with its noun: `1 day`, `2,000 days`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
