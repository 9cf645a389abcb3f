"""Pages tell what has changed since their records were made."""

import json
from pathlib import Path

from benchmarks.provenance import changed_defaults, defaults, defaults_text, provenance, read_record, write_record
from benchmarks.records import SCHEMA


def test_a_record_says_where_it_is_from(tmp_path: Path):
    record = provenance("python -m benchmarks tables")
    assert record["command"] == "python -m benchmarks tables"
    assert record["defaults"] == defaults()
    path = tmp_path / "new" / "record.json"
    write_record(record, path)
    assert read_record(path) == record
    path.write_text(json.dumps({**record, "schema": SCHEMA - 1}))
    assert read_record(path) is None
    assert read_record(tmp_path / "none.json") is None


def test_changed_defaults_are_told():
    now = defaults()
    then = {**now, "ema_decay": 0.25, "random_state": 7}
    assert changed_defaults(now) == changed_defaults({}) == changed_defaults({"learning_rate": 7}) == ""
    assert changed_defaults(then, ["ema_decay"]) == ""
    del then["ema_decay"]
    assert changed_defaults(then) == f"ema_decay missing (now {now['ema_decay']})"
    then["ema_decay"] = 0.25
    for prefix in ("", "estimator__"):
        found = changed_defaults({f"{prefix}{name}": value for name, value in then.items()})
        assert found == f"ema_decay 0.25 (now {now['ema_decay']})"
    record = {"label": "ours", "configuration": then}
    assert defaults_text([record], "ours") == (
        f"- Defaults that differed at that commit: ema_decay 0.25 (now {now['ema_decay']})\n"
    )
    assert (
        defaults_text([record], "mlp") == defaults_text([{**record, "parameters": {"ema_decay": 0.25}}], "ours") == ""
    )
