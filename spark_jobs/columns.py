"""Spark columns of a raw or typed row that more than one job needs."""

from pyspark.sql import Column
from pyspark.sql import functions as F


def parsed_time(text: Column) -> Column:
    """Return the UTC time of a trimmed `log_time`; null where it has neither of AntM2C's two forms.

    The forms, `yyyy-MM-dd HH:mm:ss` and `yyyy/M/d H:mm`, are recognised by what is left without the digits: with a cast, that
    takes a tenth of the time of trying patterns.
    """
    form = F.translate(text, "0123456789", "")
    long = (form == "-- ::") & (F.length(text) == 19)
    return F.when(long, text.try_cast("timestamp")).when(
        (form == "// :") & (F.substring(text, -3, 1) == ":"),
        F.concat(F.translate(text, "/", "-"), F.lit(":00")).try_cast("timestamp"),
    )


def topic_key(entities: str = "item_entities") -> Column:
    """Return the topic of an impression: the key of its item's first entity; null where it has none."""
    first = F.try_element_at(F.col(entities), F.lit(1))
    return F.when(first.isNotNull(), F.xxhash64(first))
