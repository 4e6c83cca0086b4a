import pytest

from include.cli.settings import env_example, settings_markdown
from include.errors import InvalidInputError
from include.setting_groups import PROJECT
from include.settings import get_settings, list_text


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("CTR_TRAIN_THREADS", "-1", r"CTR_TRAIN_THREADS: .*greater than or equal to 0, found '-1'"),
        ("CTR_SEED", "x", r"CTR_SEED: .*integer"),
        ("CTR_VOLUME_BAND", "wide", r"volume_band"),
        ("CTR_VOLUME_BAND", "[3, 0.3]", r"CTR_VOLUME_BAND: .*the lower one first"),
        ("CTR_CTR_BAND", "[-1, 2]", r"CTR_CTR_BAND: .*not negative"),
        ("CTR_CTR_BAND", "[0, NaN]", r"CTR_CTR_BAND: .*finite"),
        ("CTR_SCENES", " ", r"CTR_SCENES: .*at least 1 item"),
        ("CTR_SCENES", "0,1,0", r"CTR_SCENES: .*found 0 more than once"),
        ("CTR_SENSITIVE_COLUMNS", "user_id,userid", r"CTR_SENSITIVE_COLUMNS: .*userid is none"),
        ("CTR_EMPTY_DAYS", "2023-07-14,14 July", r"CTR_EMPTY_DAYS: .*date"),
        ("CTR_ENTITY_SEPARATORS", "", r"CTR_ENTITY_SEPARATORS: .*at least 1 character"),
        ("CTR_MODEL_NAME", " ", r"CTR_MODEL_NAME"),
        ("CTR_SPARK_DRIVER_MEMORY", "lots", r"CTR_SPARK_DRIVER_MEMORY"),
        ("CTR_LAKE", "/data/lake", r"CTR_LAKE: .*expected a URL with its scheme"),
        ("CTR_SCHEDULE", "at night", r"CTR_SCHEDULE: .*once a day"),
        ("CTR_SCHEDULE", "0 * * * *", r"CTR_SCHEDULE: .*once a day"),
        ("CTR_SCHEDULE", "0 0 * * 1", r"CTR_SCHEDULE: .*once a day"),
        ("CTR_PSI_MOVED", "0.5", r"expected CTR_PSI_MOVED at most CTR_PSI_SHIFTED, found 0.5 above 0.25"),
    ],
)
def test_a_setting_out_of_range_is_named_with_what_was_found(monkeypatch, name, value, told):
    get_settings.cache_clear()
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInputError, match=told):
        get_settings()
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CTR_SCENES", "home, search"),
        ("CTR_SENSITIVE_COLUMNS", ""),
        ("CTR_SENSITIVE_COLUMNS", "user_id,query_entity_seq,title_key"),
        ("CTR_EMPTY_DAYS", ""),
        ("CTR_SCHEDULE", "30 2 * * *"),
        ("CTR_SCHEDULE", "@daily"),
        ("CTR_LAKE", "hdfs://namenode:8020/lake"),
    ],
)
def test_what_makes_sense_is_accepted(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    get_settings()


def test_the_generated_references_are_those_of_the_code():
    """`ctr settings --markdown > docs/settings.md; ctr settings --env > .env.example` after a change."""
    assert (PROJECT / "docs/settings.md").read_text() == settings_markdown()
    assert (PROJECT / ".env.example").read_text() == env_example()


def test_the_example_can_be_read_as_it_stands(monkeypatch, tmp_path):
    """Uncommented, every default is accepted in the form in which it is written."""
    lines = [line.removeprefix("#") for line in env_example().splitlines() if line.startswith("#CTR_")]
    example = tmp_path / "example.env"
    example.write_text("\n".join(line for line in lines if not line.endswith("=")))
    monkeypatch.setenv("CTR_ENV_FILE", str(example))
    get_settings.cache_clear()
    assert get_settings().train_days == 28


def test_a_list_is_read_back_as_it_is_written(monkeypatch):
    names = ("men's", 'the "new"', "50% off", "a, b", '"quoted"')
    monkeypatch.setenv("CTR_SCENES", list_text(names))
    get_settings.cache_clear()
    assert get_settings().scenes == names
