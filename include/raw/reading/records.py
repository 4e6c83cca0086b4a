"""Records of a file as they came in, by the names of the file's columns: what every format's reader yields."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from include.errors import InvalidInputError

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Broken:
    """A record that has no columns: its number in the file from 0, its line from 1, why, in words, and what came in.

    `reason` is one of `include/raw/row_rules.py`; `line` is the number again where the format has no lines.
    """

    number: int
    line: int
    reason: str
    fault: str
    text: str


@dataclass
class Records:
    """Some records of a file, in its order.

    `columns` holds for each source column the values of the records of `numbers` (from 0, in the file): text as it stands,
    or the types of Parquet and ORC; null where the format has a null. `lines` are the lines that they begin on, from 1.
    """

    numbers: Numbers
    columns: dict[str, pa.Array]
    broken: list[Broken] = field(default_factory=list)
    lines: Numbers | None = None


@dataclass
class FileCounts:
    """What a file held: every line is blank, of the header, or of a record, which it begins or continues."""

    lines: int = 0
    blank: int = 0
    header: int = 0
    continued: int = 0
    records: int = 0

    def check_conserved(self, label: str) -> None:
        """Raise `InvalidInputError` where a line of a text file is none of these: the reader lost some."""
        if self.lines != self.blank + self.header + self.continued + self.records:
            raise InvalidInputError(
                f"{label}: {self.lines:,} lines came in, but {self.records:,} records began, {self.continued:,} lines went on, "
                f"{self.blank:,} were blank and {self.header:,} the header. Nothing was read; this is a bug: please report it."
            )
