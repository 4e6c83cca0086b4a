"""The declaration of features is whole, and the documentation is made from it."""

from include.features import ENOUGH_KEYS, FEATURES, STRENGTH_RANGE, features_markdown, prior_strength
from include.setting_groups import PROJECT


def test_the_documentation_is_the_declaration():
    """`ctr features --markdown > docs/features.md` after a change."""
    assert (PROJECT / "docs/features.md").read_text() == features_markdown()


def test_every_feature_is_declared_once_and_in_full():
    assert len({feature.name for feature in FEATURES}) == len(FEATURES)
    for feature in FEATURES:
        assert feature.meaning
        assert feature.unit
        assert (feature.grain == "row") == (feature.window == "row")


def sums(counts: list[tuple[int, int]]) -> dict[str, float]:
    return {
        "keys": len(counts),
        "impressions": sum(n for n, _ in counts),
        "clicks": sum(x for _, x in counts),
        "squares": float(sum(n * n for n, _ in counts)),
        "shares": sum(x * x / n for n, x in counts),
    }


def test_prior_strength_is_that_of_the_beta_keys_are_drawn_from():
    import numpy as np

    random = np.random.default_rng(1)
    for strength in (5, 20, 100):
        shown = random.integers(1, 40, 40_000)
        clicks = random.binomial(shown, random.beta(0.1 * strength, 0.9 * strength, len(shown)))
        found = prior_strength(**sums(list(zip(shown.tolist(), clicks.tolist(), strict=True))), too_few=20)
        assert abs(found / strength - 1) < 0.15


def test_equal_keys_get_the_strongest_prior_and_few_the_setting():
    import numpy as np

    random = np.random.default_rng(2)
    shown = random.integers(1, 40, 5_000)
    same = prior_strength(
        **sums(list(zip(shown.tolist(), random.binomial(shown, 0.1).tolist(), strict=True))), too_few=20
    )
    assert same > STRENGTH_RANGE[1] / 4
    assert prior_strength(**sums([(10, 1)] * (ENOUGH_KEYS - 1)), too_few=20) == 20
