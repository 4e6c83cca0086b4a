"""Posts a notice to a webhook, as the JSON of Slack and compatible services (Mattermost, Rocket.Chat, …).

Form and limits: https://docs.slack.dev/reference/block-kit/blocks. Values come from logs that anyone may have written: they are
cut, put on one line and escaped, so that none can break the message or call people (`<!channel>`).
"""

import logging
import time
from typing import Any

import httpx
from pydantic import SecretStr

from include.checks import Check
from include.errors import CtrError
from include.orchestration.notice import Notice

LISTED_CHECKS = 10
PAUSES = (1.0, 3.0)
"""Seconds before each further try."""
_VALUE = 300
"""Most characters of a value: five times as many once escaped, within the 2,000 of a field and the 3,000 of a section."""
_SHORT = 150
"""Most characters of a header, and of a value in the fallback, which Slack splits after 4,000."""


def post(url: SecretStr, notice: Notice) -> None:
    """Post the notice; raises `CtrError`, which does not name the URL, when the webhook did not take it.

    Tried again where it is sure, or the server says, that nothing was taken: no connection, status 429 or 5xx. A redirect is
    not followed: it would carry the notice to an address that nobody has set.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs the URL, which is the webhook's password
    body = message(notice)
    fault = ""
    with httpx.Client(timeout=5) as client:
        for pause in (0.0, *PAUSES):
            time.sleep(pause)
            fault, again = _try(client, url, body)
            if not again:
                break
    if fault:
        raise CtrError(
            f"The webhook of CTR_NOTICE_WEBHOOK did not take the notice of '{notice.title}': expected status 2xx, found {fault}. "
            "Next: check that the webhook still exists and that this worker may reach it."
        )


def _try(client: httpx.Client, url: SecretStr, body: dict[str, Any]) -> tuple[str, bool]:
    """Post once; returns what went wrong, empty if nothing did, and whether another try may help."""
    try:
        status = client.post(url.get_secret_value(), json=body).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__, isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    return "" if httpx.codes.is_success(status) else f"status {status}", status == 429 or status >= 500


def message(notice: Notice) -> dict[str, Any]:
    """Return the notice as Slack's JSON: `text` for notifications and for receivers without blocks, `blocks` with all of it."""
    listed = notice.checks[:LISTED_CHECKS]
    more = len(notice.checks) - LISTED_CHECKS
    link = f"<{_escaped(notice.link)}|{_escaped(notice.link_text)}>"
    first = _line(listed[0]) if listed else _value(notice.text)
    others = [f"and {len(notice.checks) - 1} more"] if len(notice.checks) > 1 else []
    return {
        "text": "\n".join([_value(notice.title), first, *others, link]),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": _value(notice.title, _SHORT), "emoji": False}},
            _section(_value(notice.text.splitlines()[0] if listed else notice.text)),
            *map(_check, listed),
            *([_section(f"and {more} more")] if more > 0 else []),
            _section(_value(notice.advice)),
            _section(link),
            {"type": "context", "elements": [_markdown(f"Run {_value(notice.run)}")]},
        ],
    }


def _check(check: Check) -> dict[str, Any]:
    fields = {
        "Table": check.table,
        "Check": check.title,
        "Expected": check.expected,
        "Observed": check.observed,
        "Failing rows": "none by itself" if check.failing_rows is None else f"{check.failing_rows:,}",
    }
    return {
        "type": "section",
        "fields": [_markdown(f"*{label}*\n{_value(value)}") for label, value in fields.items()],
    }


def _line(check: Check) -> str:
    table, name, expected, observed = (
        _value(text, _SHORT) for text in (check.table, check.title, check.expected, check.observed)
    )
    return f"{table}: {name}: expected {expected}, observed {observed}"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _markdown(text)}


def _markdown(text: str) -> dict[str, Any]:
    """Return Slack's text object; `verbatim`: a URL, channel or person named in a value does not become a link."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _value(value: object, most: int = _VALUE) -> str:
    """Return a value on one line, cut and escaped; never empty, which Slack refuses."""
    line = " ".join("".join(character if character.isprintable() else " " for character in str(value)).split()) or "–"
    return _escaped(line if len(line) <= most else f"{line[: most - 1]}…")


def _escaped(text: str) -> str:
    """Return a text with Slack's three control characters as entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
