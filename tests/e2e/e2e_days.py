"""The days of the whole nightly runs, and rows of the damaged one that would like to be more than text."""

import csv
from datetime import date, timedelta

from include.raw import Raw, day_folder
from include.schemas import RAW_COLUMNS

FIRST = date(2023, 7, 10)
HISTORY, GOOD, BAD = 3, FIRST + timedelta(days=3), FIRST + timedelta(days=4)
ROWS = "3000"
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "\"><img src=x onerror='window.hacked = 1'>",
    "<svg/onload='window.hacked = 1'>",
    "</td></table><iframe srcdoc='<script>top.hacked = 1</script>'></iframe>",
    "<a href='javascript:window.hacked = 1'>click</a>",
    "' autofocus onfocus='window.hacked = 1' x='",
    "{{ 7 * 7 }}",
)


def add_hostile_rows(day: date) -> None:
    """One more raw file of the day: rows without a user, whose every other text is hostile."""
    with Raw().fs.open(_hostile_file(day), "w", newline="") as file:
        writer = csv.DictWriter(file, RAW_COLUMNS)
        writer.writeheader()
        for text in HOSTILE:
            writer.writerow(dict.fromkeys(RAW_COLUMNS, text) | {"user_id": "", "log_time": f"{day} 10:00:00"})


def remove_hostile_rows(day: date) -> None:
    """The day's raw files as `ctr sample` wrote them: it overwrites no others."""
    Raw().fs.rm(_hostile_file(day))


def _hostile_file(day: date) -> str:
    return Raw().full(f"{day_folder(day)}/part-hostile.csv")
