"""The mapping of a shop's log, with tabs, times of two forms and a constant scene."""

from pathlib import Path

from include.mapping.mapping import Mapping, read_mapping

SHOP = """
columns:
  user_id: uid
  item_id: product
  log_time: at
  label: clicked
  item_title: name
  scene: {constant: "0"}
  query_entity_seq: searches
time:
  formats: ["%d.%m.%Y %H:%M", epoch_seconds]
  zone: Asia/Shanghai
delimiter: tab
labels: {"true": 1, "false": 0}
"""


def mapping(home: Path, text: str = SHOP) -> Mapping:
    """The mapping that a text says."""
    (home / "mapping.yaml").write_text(text, encoding="utf-8")
    return read_mapping(str(home / "mapping.yaml"))
