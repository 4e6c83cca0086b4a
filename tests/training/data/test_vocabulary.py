import pyarrow as pa

from training.data.vocabulary import OOV, Vocabulary


def column(*ids):
    return pa.chunked_array([pa.array(ids, pa.string())])


def test_an_id_keeps_its_row_when_others_come():
    first = Vocabulary.empty().extended(column("b", "a"))
    second = first.extended(column("c", "a", "0"))
    assert first.encode(column("a", "b")).tolist() == second.encode(column("a", "b")).tolist() == [1, 2]
    assert second.encode(column("0", "c")).tolist() == [3, 4]


def test_unknown_and_null_ids_share_the_reserved_row():
    vocabulary = Vocabulary.empty().extended(column("a"))
    assert vocabulary.encode(column("a", "z", None)).tolist() == [1, OOV, OOV]


def test_the_order_of_rows_does_not_change_the_vocabulary():
    assert Vocabulary.empty().extended(column("b", "a")).ids == Vocabulary.empty().extended(column("a", "b", "b")).ids


def test_length_counts_the_reserved_row():
    assert len(Vocabulary.empty()) == 1
    assert len(Vocabulary.empty().extended(column("a", "b"))) == 3
