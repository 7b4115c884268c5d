"""Floats of 16 and 32 bits in tables are the numbers that were written, wherever they stand."""

from pathlib import Path
from typing import Any

import pytest

from iapo.rewards.text import accepted_answers
from iapo.tasks import load_rows, task_from_source

pyarrow = pytest.importorskip("pyarrow")
FLOATS = (pyarrow.float16(), pyarrow.float32())


def columns(narrow: Any) -> dict[str, tuple[Any, list[Any]]]:
    """Kinds of columns by name, with their values."""
    pair = pyarrow.struct([("ground_truth", narrow), ("float", pyarrow.string())])
    return {
        "plain": (narrow, [0.1, None]),
        "list": (pyarrow.list_(narrow), [[0.1, None], None]),
        "large": (pyarrow.large_list(narrow), [[0.7], []]),
        "fixed": (pyarrow.list_(narrow, 2), [[0.1, 2.5], None]),
        "struct": (pair, [{"ground_truth": 0.1, "float": "x"}, None]),
        "deep": (pyarrow.list_(pair), [[{"ground_truth": 0.3, "float": None}], []]),
        "wide": (pyarrow.struct([("value", pyarrow.float64())]), [{"value": 0.10000000149011612}, None]),
        "count": (pyarrow.int64(), [3, None]),
    }


def table(narrow: Any) -> Any:
    # By NumPy's scalars, as pyarrow takes no float of Python for 16 bits.
    of_numpy = narrow.to_pandas_dtype()

    def scalar(value: Any, kind: Any) -> Any:
        if isinstance(value, list):
            return [scalar(each, kind.value_type) for each in value]
        if isinstance(value, dict):
            return {name: scalar(each, kind.field(name).type) for name, each in value.items()}
        return of_numpy(value) if value is not None and kind == narrow else value

    arrays = {
        name: pyarrow.array([scalar(each, kind) for each in values], kind)
        for name, (kind, values) in columns(narrow).items()
    }
    return pyarrow.table({"prompt": ["1?", "2?"], **arrays})


def check(rows: list[dict[str, Any]], narrow: Any) -> None:
    for name, (_, values) in columns(narrow).items():
        assert [row[name] for row in rows] == values, name
    assert accepted_answers(rows[0]["struct"]) == ("0.1",)


@pytest.mark.parametrize("narrow", FLOATS, ids=str)
def test_of_a_parquet_file(tmp_path: Path, narrow: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(table(narrow), tmp_path / "a.parquet")
    check(load_rows(task_from_source(str(tmp_path / "a.parquet"))), narrow)


@pytest.mark.parametrize("narrow", FLOATS, ids=str)
def test_of_a_data_set(tmp_path: Path, narrow: Any) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset(table(narrow)).save_to_disk(tmp_path / "a")
    check(load_rows(task_from_source(str(tmp_path / "a"))), narrow)


def test_of_maps_and_dictionaries(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    kind = pyarrow.map_(pyarrow.string(), pyarrow.float32())
    mapped = pyarrow.array([[("value", 0.1), ("x", None)]], kind)
    coded = pyarrow.array([0.7], pyarrow.float32()).dictionary_encode()
    parquet.write_table(pyarrow.table({"prompt": ["1?"], "map": mapped, "coded": coded}), tmp_path / "a.parquet")
    (row,) = load_rows(task_from_source(str(tmp_path / "a.parquet")))
    assert (row["map"], row["coded"]) == ({"value": 0.1, "x": None}, 0.7)
