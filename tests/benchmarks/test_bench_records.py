"""Records survive being killed, and pages tell what has changed since they were made."""

import json
from pathlib import Path

import pytest

from benchmarks import records
from benchmarks.markdown import circumstances, number
from benchmarks.records import SCHEMA, RecordStore, new_record, read_record, record_key, write_record


def make_record(split: int = 0, **changes: object) -> dict:
    base = {"label": "m", "configuration": {"b": 1, "a": 2}, "table": "t", "split": split, "inner": False}
    return {**base, "accuracy": 0.5, **changes}


def test_written_records_are_read(tmp_path: Path):
    store = RecordStore(tmp_path / "new")
    assert store.read() == []
    written = [make_record(0), make_record(1), make_record(0, label="a")]
    for record in written:
        store.append(record)
    assert store.read() == [written[2], written[0], written[1]]
    assert sorted(path.name for path in store.folder.iterdir()) == ["a.jsonl", "m.jsonl"]


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_cut_off_line_is_left_out_and_then_replaced(tmp_path: Path, kept: int):
    store = RecordStore(tmp_path)
    store.append(make_record(0))
    whole = store.path("m").read_bytes()
    store.append(make_record(1))
    second = store.path("m").read_bytes()[len(whole) :]
    store.path("m").write_bytes(whole + second[:kept])
    assert store.read() == [make_record(0)]
    store.append(make_record(2))
    assert store.read() == [make_record(0), make_record(2)]


def test_first_line_cut_off(tmp_path: Path):
    store = RecordStore(tmp_path)
    store.path("m").write_text('{"label": "m", "conf')
    assert store.read() == []
    store.append(make_record(0))
    assert store.read() == [make_record(0)]


def test_only_the_end_of_line_cut_off(tmp_path: Path):
    store = RecordStore(tmp_path)
    store.append(make_record(0))
    store.path("m").write_bytes(store.path("m").read_bytes()[:-1])
    store.append(make_record(1))
    assert store.read() == [make_record(0), make_record(1)]


def test_later_record_of_the_same_run_counts(tmp_path: Path):
    store = RecordStore(tmp_path)
    for accuracy in (0.1, 0.9):
        store.append(make_record(accuracy=accuracy))
    assert [record["accuracy"] for record in store.read()] == [0.9]


def test_only_peers_keep_records_of_an_older_schema(tmp_path: Path):
    store = RecordStore(tmp_path)
    peer = make_record(model="mlp", schema=SCHEMA - 1)
    ours = [make_record(split, label="default", model="ours", schema=SCHEMA) for split in (0, 1)]
    for record in (peer, *ours, {**ours[1], "schema": SCHEMA - 1}, make_record(label="b", model="ours", schema=1)):
        store.append(record)
    assert store.read() == [*ours, peer]


def test_key_tells_runs_apart():
    base = record_key(make_record())
    assert base == record_key(make_record(accuracy=1, configuration={"a": 2, "b": 1}))
    for changes in ({"split": 1}, {"inner": True}, {"table": "u"}, {"label": "n"}, {"configuration": {}}):
        assert base != record_key(make_record(**changes))


@pytest.mark.parametrize("label", ["", "a/b", "..", ".hidden", "a b"])
def test_label_that_is_no_file_name_is_refused(tmp_path: Path, label: str):
    with pytest.raises(ValueError, match=r"Got label=.* expected letters, digits"):
        RecordStore(tmp_path).path(label)


def test_a_record_says_where_it_is_from(tmp_path: Path):
    record = new_record("python -m benchmarks few-shot", runs=[1])
    assert (record["command"], record["runs"]) == ("python -m benchmarks few-shot", [1])
    assert {"python", "numpy", "torch"} <= set(record["environment"]["versions"])
    path = tmp_path / "new" / "record.json"
    write_record(record, path)
    assert read_record(path) == record
    path.write_text(json.dumps({**record, "schema": SCHEMA - 1}))
    assert read_record(path) is None
    assert read_record(tmp_path / "none.json") is None


@pytest.mark.parametrize("lacking", ["git", "checkout"])
def test_without_git_nothing_is_said_of_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str):
    if lacking == "git":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setattr(records, "ROOT", tmp_path)
    found = records.environment()
    assert (found["commit"], found["dirty"]) == (None, None)


def test_circumstances_name_what_has_changed():
    record = new_record("python -m benchmarks few-shot")
    now = record["defaults"]["ema_decay"]
    assert "Defaults that differed" not in circumstances([record], ("torch",))
    then = {**record["defaults"], "ema_decay": 0.25, "random_state": 7}
    told = f"- Defaults that differed at that commit: ema_decay 0.25 (now {now})\n"
    assert told in circumstances([{**record, "defaults": then}])
    assert "commit: n_heads 4 (no longer a parameter)\n" in circumstances(
        [{**record, "defaults": {**record["defaults"], "n_heads": 4}}]
    )
    run = {
        **make_record(),
        **record["environment"],
        "command": "c",
        "date": record["date"],
        "warnings": ["UserWarning"],
    }
    text = circumstances([{**run, "configuration": {f"estimator__{name}": value for name, value in then.items()}}])
    assert told in text
    assert "- Commit: `2` (a)\n- Commit: `3` (b)\n" in circumstances(
        [{**run, "label": "a", "commit": "2", "dirty": False}, {**run, "label": "b", "commit": "3", "dirty": False}]
    )
    assert "- Commit: `2`\n" in circumstances([{**run, "label": "a", "commit": "2", "dirty": False}])
    assert "```console\nc\n```" in text
    assert "- Warned with: UserWarning (m)\n" in text
    assert told not in circumstances([{**run, "configuration": then, "parameters": {"ema_decay": 0.25}}])
    assert "was called 4 times" in circumstances([{**run, "command": f"a b c d {n}"} for n in range(4)])


def test_numbers_have_no_negative_zero():
    assert [number(value, 2) for value in (-0.001, -0.01, float("nan"))] == ["0.00", "-0.01", "–"]
