"""Pages tell what has changed since their records were made."""

import json
from pathlib import Path

from benchmarks.models import automatic
from benchmarks.provenance import changed_defaults, defaults, defaults_text, provenance, write_record


def test_a_record_says_where_it_is_from(tmp_path: Path):
    record = provenance("python -m benchmarks tables")
    assert record["command"] == "python -m benchmarks tables"
    assert record["defaults"] == defaults()
    write_record(record, tmp_path / "new" / "record.json")
    assert json.loads((tmp_path / "new" / "record.json").read_text()) == record


def test_other_defaults_than_todays_are_told():
    now = defaults()
    then = {**now, "averaging": 0.25, "random_state": 7}
    assert changed_defaults(now) == changed_defaults({}) == changed_defaults({"learning_rate": 7}) == ""
    assert changed_defaults(then, ["averaging"]) == ""
    del then["averaging"]
    assert changed_defaults(then) == f"averaging missing (now {now['averaging']})"
    then["averaging"] = 0.25
    for prefix in ("", "estimator__"):
        found = changed_defaults({f"{prefix}{name}": value for name, value in then.items()})
        assert found == f"averaging 0.25 (now {now['averaging']})"


def test_another_meaning_of_auto_is_told():
    record = {"label": "ours", "table": "t", "configuration": defaults(), "n_features": 4, "n_classes": 2}
    other = {**record, "table": "u", "automatic": {"width": 1}}
    unknown, changed = defaults_text([record, other], "ours").splitlines()[::-1]
    assert unknown.startswith('- Some records do not say what "auto" stood for')
    assert changed == '- "auto" stood for other values than now on: u'
    assert defaults_text([other], "ours") == f"{changed}\n"
    told = automatic(record["configuration"], 4, 2)
    assert defaults_text([{**record, "automatic": told}], "ours") == defaults_text([record, other], "another") == ""
    given = {
        **record,
        "automatic": told,
        "configuration": {**defaults(), "n_members": 3},
        "parameters": {"n_members": 3},
    }
    assert defaults_text([given], "ours") == ""
