from include import version


def test_the_digest_tells_the_code_that_trains_and_nothing_else(tmp_path, monkeypatch):
    def digest() -> str:
        version.code_digest.cache_clear()
        return version.code_digest()

    monkeypatch.setattr(version, "PROJECT", tmp_path)
    (tmp_path / "training/models").mkdir(parents=True)
    (tmp_path / "training/models/ple.py").write_text("one")
    before = digest()
    (tmp_path / "README.md").write_text("two")
    assert digest() == before
    (tmp_path / "training/models/ple.py").write_text("two")
    assert digest() != before
    version.code_digest.cache_clear()
