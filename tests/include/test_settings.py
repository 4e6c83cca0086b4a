import pytest

from include.errors import InvalidInputError
from include.settings import settings


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("CTR_TRAIN_THREADS", "0", r"CTR_TRAIN_THREADS: .*greater than or equal to 1, found '0'"),
        ("CTR_SEED", "x", r"CTR_SEED: .*integer"),
        ("CTR_VOLUME_BAND", "wide", r"volume_band"),
    ],
)
def test_a_setting_out_of_range_is_named_with_what_was_found(monkeypatch, name, value, told):
    settings.cache_clear()
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInputError, match=told):
        settings()
    settings.cache_clear()
