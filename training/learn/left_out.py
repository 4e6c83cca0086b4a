"""The inputs that a model leaves out, as the days that it was fitted on do not have them."""

from training.data.dense import NAMES
from training.data.state import State


def left_out(state: State) -> list[str]:
    """Return the inputs that the network does not read, because they were absent or constant: `text`, then names of features,
    with runs of deep features as one."""
    names = [name for name, used in zip(NAMES, state.standardiser.used, strict=True) if not used]
    return [*([] if state.config.has_text else ["text"]), *_with_ranges(names)]


def _with_ranges(names: list[str]) -> list[str]:
    """Return the names, ascending, with neighbours such as `x_1`, `x_2`, `x_3` as `x_1 to x_3`."""
    runs: list[list[str]] = []
    for name in names:
        if runs and name == _following(runs[-1][-1]):
            runs[-1].append(name)
        else:
            runs.append([name])
    return [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]


def _following(name: str) -> str:
    """Return the name with the next number; of a name without one, the name itself."""
    stem, _, number = name.rpartition("_")
    return f"{stem}_{int(number) + 1}" if number.isdigit() else name
