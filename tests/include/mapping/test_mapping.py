"""The form of a mapping file: every wrong field is named."""

from pathlib import Path

import pytest
from shop_log import SHOP, mapping

from include.errors import InvalidInputError, MissingDataError
from include.mapping.mapping import read_mapping
from include.raw.raw_mapping import raw_mapping, scenes_of
from include.settings import get_settings

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("  user_id: uid\n", ""), "user_id must be mapped"),
        (("  user_id: uid\n", "  user: uid\n  user_id: uid\n"), "user is no column of the raw logs"),
        (("%d.%m.%Y %H:%M", "dd.MM.yyyy"), "none of Python's formats"),
        (("Asia/Shanghai", "Beijing"), "'Beijing' is no time zone"),
        (("delimiter: tab", "delimter: tab"), "delimter"),
        (("delimiter: tab", "header: false"), "names: must list"),
        (("delimiter: tab", "encoding: utf8000"), "is no encoding"),
        (("delimiter: tab", "escape: ab"), "one character, or `quote`"),
        (("delimiter: tab", "delimiter: '\"'"), "must be different characters"),
        (("delimiter: tab", "files: logs/*"), "does not say where {yyyy}, {MM}, {dd}"),
        (("epoch_seconds", "'%z %Y-%m-%d'"), "must stand at its end"),
        (("columns:", "columns: ["), "expected YAML"),
        (("delimiter: tab", "scenes: [a, b, a]"), "found a more than once"),
        (("delimiter: tab", "scenes: [a, ' ']"), "expected names of scenes"),
    ],
)
def test_a_wrong_mapping_is_told_by_its_field(home: Path, change: tuple[str, str], message: str):
    with pytest.raises(InvalidInputError, match=message):
        mapping(home, SHOP.replace(*change))


@pytest.mark.parametrize(
    ("scenes", "listed"),
    [
        ("scene: {constant: feed}", ("feed",)),
        ("scene: page", ()),
        ("scene: page\nscenes: [b, a, 'c, d']", ("b", "a", "c, d")),
        ("scene: page\nscenes: {B: b, a: a, bb: b}", ("b", "a")),
    ],
)
def test_the_scenes_of_the_mapping_are_those_of_the_settings(
    home: Path, monkeypatch, scenes: str, listed: tuple[str, ...]
):
    default = get_settings().scenes
    head, _, tail = scenes.partition("\n")
    text = SHOP.replace('scene: {constant: "0"}', head) + tail
    rule = mapping(home, text)
    assert rule.all_scenes() == listed
    monkeypatch.setenv("CTR_RAW_MAPPING", str(home / "mapping.yaml"))
    get_settings.cache_clear()
    assert get_settings().scenes == (listed or default)
    assert scenes_of(rule) == (listed or default)
    monkeypatch.setenv("CTR_SCENES", "z")
    get_settings.cache_clear()
    assert get_settings().scenes == scenes_of(rule) == ("z",)


def test_a_scene_more_changes_no_row(home: Path):
    page = SHOP.replace('{constant: "0"}', "page")
    digests = [
        mapping(home, f"{page}scenes: {scenes}\n").digest() for scenes in ("[]", "[a]", "{a: a, b: b}", "{a: b}")
    ]
    assert len({*digests[:3]}) == 1
    assert digests[3] != digests[0]


def test_a_missing_mapping_names_the_bundled_ones():
    with pytest.raises(MissingDataError, match="antm2c"):
        read_mapping("nowhere")


def test_the_mapping_of_the_settings_is_read_again_once_changed(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Its path may be relative to the home."""
    assert raw_mapping() == read_mapping("antm2c")
    monkeypatch.setenv("CTR_RAW_MAPPING", "mapping.yaml")
    get_settings.cache_clear()
    mapping(home)
    assert raw_mapping().delimiter == "\t"
    mapping(home, SHOP.replace("delimiter: tab", "delimiter: ;"))
    assert raw_mapping().delimiter == ";"


def test_only_what_a_mapping_makes_of_values_is_in_its_digest(home: Path):
    digest = mapping(home).digest()
    assert mapping(home, SHOP + "description: a shop\nfiles: dt={yyyyMMdd}/*\n").digest() == digest
    assert mapping(home, SHOP + "ids: integer\n").digest() != digest


def test_absent_columns_are_those_without_a_source(home: Path):
    absent = mapping(home, SHOP.replace("item_title: name", "item_title: {constant: ''}")).absent()
    assert absent[:5] == ("bill_entity_seq", "service_entity_seq", "item_entity_names", "item_title", "deep_features_0")
    assert read_mapping("antm2c").absent() == ()
