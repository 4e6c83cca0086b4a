"""Checks for quality records, and texts that would like to be more than text."""

from include.checks import check_result

HOSTILE = (
    "<script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=1>',
    "'-alert(1)-'",
    "<svg/onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "{{ 7*7 }}{% for x in () %}",
    "</title></textarea><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "中文\u202e\x07<u>",
)


def check(name="expect_rows", ok=True, **more):
    """A check's record."""
    values = {"table": "logs", "expected": "at least 1 row", "observed": "0 rows", "column": None} | more
    sample = values.pop("sample", None)
    made = check_result(values.pop("table"), name, ok, values.pop("expected"), values.pop("observed"), **values)
    return made.model_copy(update={"sample": sample}) if sample else made
