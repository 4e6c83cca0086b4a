"""MIND-layout news logs (Microsoft News) as raw logs: one row for each item shown.

The scene of a row is the category group of the item shown. The intent of a row is the user's click history as it stood
before the day: MIND's own history column, and clicks of this log on earlier days; never the same impression, the same day,
or later. Set `CTR_SCENES` to `MIND_SCENES` for the run.

- `query_entity_seq`: entities of the clicked news, latest click first; the title of a recent click that has none.
- `service_entity_seq`: category and subcategory of the clicked news in words, latest first.
- `bill_entity_seq`: the categories clicked most, most clicked first.
- `item_entity_names`: entities of title and abstract, then category and subcategory in words.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from include.completeness_rules import MARKER
from include.errors import InvalidInputError
from include.raw.deliveries import Delivery, Raw, day_folder
from include.raw.import_files import (
    DayFiles,
    Imported,
    Progress,
    import_name,
    previous_imports,
    source_name,
    text_lines,
)
from include.schemas import RAW_COLUMNS
from include.settings import get_settings

MIND_SCENES = ("news", "sports", "entertainment", "lifestyle", "consumer")
"""The scenes of an imported MIND log, to be set as `CTR_SCENES`."""

CATEGORY_SCENES = {
    "news": "news",
    "weather": "news",
    "northamerica": "news",
    "middleeast": "news",
    "sports": "sports",
    "entertainment": "entertainment",
    "movies": "entertainment",
    "music": "entertainment",
    "tv": "entertainment",
    "video": "entertainment",
    "games": "entertainment",
    "kids": "entertainment",
    "lifestyle": "lifestyle",
    "health": "lifestyle",
    "foodanddrink": "lifestyle",
    "finance": "consumer",
    "autos": "consumer",
    "travel": "consumer",
}
"""Scene of each category of MIND; a category that is not here goes to `news` and is counted."""

CATEGORY_WORDS = {
    "foodanddrink": "food and drink",
    "northamerica": "north america",
    "middleeast": "middle east",
    "tv": "television",
}

TIME_FORMAT = "%m/%d/%Y %I:%M:%S %p"
MAX_QUERY_ENTITIES = 20
MAX_SERVICES = 10
MAX_BILLS = 5
TITLES_OF_LAST_CLICKS = 5
_OWN = re.compile(r"mind-.*\.csv\.gz")


@dataclass(frozen=True, slots=True)
class News:
    """One news article as rows need it."""

    scene: str
    category: str
    topic: str
    title: str
    entities: tuple[str, ...]
    names: str


@dataclass
class MindReport:
    """What was read and written."""

    imported: Imported
    impressions: int = 0
    clicks: int = 0
    users: set[str] = field(default_factory=set)
    news: int = 0
    unknown_items: int = 0
    unknown_history: int = 0
    unknown_categories: int = 0
    scenes: dict[str, list[int]] = field(default_factory=lambda: {scene: [0, 0] for scene in MIND_SCENES})


@dataclass(frozen=True, slots=True)
class _Impression:
    """One line of the behaviors file."""

    user: str
    time: datetime
    history: str
    items: tuple[tuple[str, str], ...]


Clicks = dict[str, list[tuple[datetime, str]]]
"""Clicked items of each user with the time, ascending."""


def import_mind(behaviors: str, news: str, *, raw: Raw | None = None, progress: Progress | None = None) -> MindReport:
    """Write a MIND log as raw days, all of them or, after any error, none; importing the same file again replaces it.

    The days are marked as complete: a MIND log is published as a whole.
    """
    raw = raw or Raw()
    raw.refuse_another_form("`ctr import`")
    source = source_name(behaviors)
    report = MindReport(Imported(import_name("mind", behaviors), source))
    articles = read_news(news, report)
    clicks = read_clicks(behaviors)
    before = previous_imports(raw, source)
    with Delivery(raw) as delivery:
        with DayFiles(delivery, report.imported, _OWN) as files:
            for day, row in rows(behaviors, articles, clicks, report, progress):
                files.row(day, row)
        report.imported.check_conserved()
        delivery.remove([name for files in before for name in files])
        markers = [f"{day_folder(day)}/{MARKER}" for day in report.imported.days]
        for marker in markers:
            delivery.write(marker, b"")
        ledger = {"source": source, "files": report.imported.files + markers, "days": report.imported.days}
        delivery.write(f"_imports/{report.imported.name}.json", json.dumps(ledger, indent=1).encode())
    return report


def read_news(path: str, report: MindReport) -> dict[str, News]:
    """Return the articles by id; raises `InvalidInputError` for a line without MIND's eight columns."""
    articles = {}
    for number, line in text_lines(path):
        parts = line.split("\t")
        if len(parts) != 8:
            raise InvalidInputError(
                f"{path}, line {number}: expected 8 tab-separated columns (id, category, subcategory, title, abstract, url, "
                f"title entities, abstract entities), found {len(parts)}. Is this the news file? Nothing was imported."
            )
        identifier, category, subcategory, title = parts[:4]
        labels = [*_labels(path, number, 7, parts[6]), *_labels(path, number, 8, parts[7])]
        entities = tuple(dict.fromkeys(_entity(label) for label in labels))
        topic = topic_words(category, subcategory)
        report.unknown_categories += category not in CATEGORY_SCENES
        articles[identifier] = News(
            scene=CATEGORY_SCENES.get(category, "news"),
            category=CATEGORY_WORDS.get(category, category),
            topic=topic,
            title=title,
            entities=entities,
            names="|".join((*entities, topic)),
        )
    report.news = len(articles)
    return articles


def topic_words(category: str, subcategory: str) -> str:
    """Return category and subcategory in words: `lifestyle`, `lifestyleroyals` is "lifestyle royals"."""
    detail = re.sub(r"[-_\s]+", " ", subcategory.removeprefix(category)).strip()
    return f"{CATEGORY_WORDS.get(category, category)} {detail}".strip()


def _labels(path: str, line: int, column: int, text: str) -> list[str]:
    if text in ("", "[]"):
        return []
    try:
        return [str(entity["Label"]) for entity in json.loads(text)]
    except (ValueError, TypeError, KeyError):
        raise InvalidInputError(
            f'{path}, line {line}, column {column}: expected a JSON list of entities with a "Label", found {text[:80]!r}. '
            "Nothing was imported."
        ) from None


def read_impressions(path: str, progress: Progress | None = None) -> Iterator[_Impression]:
    """Yield the lines of a behaviors file; raises `InvalidInputError` naming the line and column of the first bad one."""
    for number, line in text_lines(path, progress):
        parts = line.split("\t")
        if len(parts) != 5:
            raise InvalidInputError(
                f"{path}, line {number}: expected 5 tab-separated columns (impression, user, time, history, impressions), found "
                f"{len(parts)}. Is this the behaviors file? Nothing was imported."
            )
        _, user, time, history, items = parts
        yield _Impression(user, _time(path, number, time), history, tuple(_labelled_items(path, number, items)))


def _time(path: str, line: int, text: str) -> datetime:
    try:
        return datetime.strptime(text, TIME_FORMAT)
    except ValueError:
        raise InvalidInputError(
            f"{path}, line {line}, column 3: expected a time such as '11/9/2019 12:01:13 AM', found {text[:40]!r}. "
            "Nothing was imported."
        ) from None


def _labelled_items(path: str, line: int, text: str) -> Iterator[tuple[str, str]]:
    for token in text.split():
        item, _, label = token.rpartition("-")
        if not item or label not in ("0", "1"):
            raise InvalidInputError(
                f"{path}, line {line}, column 5: expected items with their label, such as 'N123-1', found {token[:40]!r}. "
                "MIND's test set has no labels and cannot be used for training. Nothing was imported."
            )
        yield item, label


def read_clicks(path: str) -> Clicks:
    """Return the clicks of a behaviors file by user, in order of time."""
    clicks: Clicks = {}
    for impression in read_impressions(path):
        for item, label in impression.items:
            if label == "1":
                clicks.setdefault(impression.user, []).append((impression.time, item))
    for user_clicks in clicks.values():
        user_clicks.sort(key=lambda click: click[0])
    return clicks


def rows(
    path: str, articles: dict[str, News], clicks: Clicks, report: MindReport, progress: Progress | None = None
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the day and raw row of every shown item, and count them in the report."""
    unknown = News(scene="news", category="", topic="", title="", entities=(), names="")
    intents: dict[tuple[str, str, str], dict[str, str]] = {}
    for impression in read_impressions(path, progress):
        day = f"{impression.time:%Y-%m-%d}"
        key = (impression.user, day, impression.history)
        if key not in intents:
            clicked = history(impression, clicks.get(impression.user, ()), articles, report)
            intents[key] = intent(clicked)
        report.impressions += 1
        report.users.add(impression.user)
        for item, label in impression.items:
            article = articles.get(item, unknown)
            report.unknown_items += article is unknown
            report.imported.rows_in += 1
            report.clicks += label == "1"
            report.scenes[article.scene][0] += 1
            report.scenes[article.scene][1] += label == "1"
            values = intents[key] | {
                "user_id": impression.user,
                "item_id": item,
                "log_time": f"{impression.time:%Y-%m-%d %H:%M:%S}",
                "label": label,
                "item_entity_names": article.names,
                "item_title": article.title,
                "scene": article.scene,
            }
            yield day, [values.get(name, "") for name in RAW_COLUMNS]


def history(
    impression: _Impression, clicks: Iterable[tuple[datetime, str]], articles: dict[str, News], report: MindReport
) -> list[News]:
    """Return the articles clicked before the impression's day, latest first, each once; unknown ids are counted and left out."""
    midnight = impression.time.replace(hour=0, minute=0, second=0)
    earlier = [item for time, item in clicks if time < midnight]
    latest_first = dict.fromkeys([*reversed(earlier), *reversed(impression.history.split())])
    clicked = [articles[item] for item in latest_first if item in articles]
    report.unknown_history += len(latest_first) - len(clicked)
    return clicked


def intent(clicked: Sequence[News]) -> dict[str, str]:
    """Return the sequence columns of a click history, latest click first."""
    query: dict[str, None] = {}
    for place, article in enumerate(clicked):
        stand_in = (_entity(article.title),) if place < TITLES_OF_LAST_CLICKS else ()
        query.update(dict.fromkeys(article.entities or stand_in))
        if len(query) >= MAX_QUERY_ENTITIES:
            break
    counts: dict[str, int] = {}
    for article in clicked:
        counts[article.category] = counts.get(article.category, 0) + 1
    bills = sorted(counts, key=lambda name: -counts[name])[:MAX_BILLS]
    services = islice(dict.fromkeys(article.topic for article in clicked), MAX_SERVICES)
    return {
        "bill_entity_seq": "|".join(bills),
        "service_entity_seq": "|".join(services),
        "query_entity_seq": "|".join(islice(query, MAX_QUERY_ENTITIES)),
    }


def _entity(text: str) -> str:
    """Return a text as one entity: without the characters that separate entities."""
    return " ".join(text.translate({ord(character): " " for character in get_settings().entity_separators}).split())
