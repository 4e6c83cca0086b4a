"""Spark columns of a typed row that more than one job needs."""

from pyspark.sql import Column
from pyspark.sql import functions as F


def topic_key(entities: str = "item_entities") -> Column:
    """Return the topic of an impression: the key of the first of its own entities of the item; null where it has none."""
    first = F.try_element_at(F.col(entities), F.lit(1))
    return F.when(first.isNotNull(), F.xxhash64(first))
