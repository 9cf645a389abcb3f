"""An audit of files that are made here: every fault is found and named, before any work."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression

from gendiffclf import cli
from gendiffclf.speech import audit, evaluate, read_corpus, sound_checks, table_checks, train
from gendiffclf.speech.findings import CODES
from gendiffclf.speech.recordings import measure

from .conftest import RATE, codes, good, noise, write


def test_a_sound_corpus_has_notes_at_most(tmp_path):
    corpus = write(tmp_path, good())
    assert audit(corpus[:1]).size.startswith("1 clip of 1 speaker")
    found = audit(corpus)
    assert {finding.severity for finding in found.findings} <= {"note"}
    assert found.n_speakers == 4
    assert found.seconds == pytest.approx(4.0)
    assert found.classes == {"a": 4, "b": 4}
    found.enforce()


@pytest.mark.parametrize(
    ("code", "samples"),
    [
        ("silent", np.zeros(8000, np.float32)),
        ("silent", np.full(8000, -1 / 128, np.float32)),  # silence of 8 bits
        ("silent", np.tile(np.float32([0.3, -0.1]), (8000, 1))),
        ("clipped", np.clip(noise(seed=99, level=0.5), -0.6, 0.6)),
        ("clipped", np.stack([np.clip(noise(seed=99, level=0.5), -0.6, 0.6), np.zeros(8000)], axis=1)),
        ("unscaled", noise(seed=99) * 30000),
        ("short", noise(0.05, seed=99)),
        ("long", noise(61, seed=99)),
        ("anti-phase", np.stack([noise(seed=99), -noise(seed=99)], axis=1)),
    ],
)
def test_faults_of_recordings(code, samples, tmp_path):
    corpus = write(tmp_path, {**good(7), "bad.wav": samples}, subtype="FLOAT")
    finding = codes(audit(corpus))[code]
    assert finding.clips == (str(tmp_path / "bad.wav"),)
    assert finding.rows == (7,)
    assert finding.severity == ("note" if code == "long" else "warning")
    assert finding.remedy in str(finding)
    assert re.match(r"1 of 8 clips (is|has|holds) ", finding.message)
    more = pd.concat([corpus, corpus.iloc[-1:].assign(path=corpus["path"][7])], ignore_index=True)
    assert re.match(r"2 of 9 clips (are|have|hold) .*; by label: b 2$", codes(audit(more))[code].message)
    unlabelled = codes(audit(more.drop(columns="label")))[code].message
    assert unlabelled == codes(audit(more))[code].message.removesuffix("; by label: b 2")


@pytest.mark.parametrize("other", [0.0, 0.25, -1.0])
def test_a_channel_of_one_value_is_not_clipped(other):
    sound = noise(seed=99)
    assert measure(np.stack([sound, np.full_like(sound, other)], axis=1), RATE).clipped == 0


def test_band_limited_clips_in_a_full_band_corpus(tmp_path):
    soxr = pytest.importorskip("soxr")
    narrow = soxr.resample(soxr.resample(noise(seed=9), RATE, RATE // 2), RATE // 2, RATE)
    found = codes(audit(write(tmp_path, {**good(7), "narrow.wav": narrow})))["band-limited"]
    assert found.rows == (7,)
    assert "1 of 8 clips has a bandwidth of 4.0 kHz, the others 8.0 kHz" in found.message
    measured = measure(narrow[:, None], RATE)
    assert measured.bandwidth == pytest.approx(4000, abs=250)


def test_rates_and_levels_that_give_labels_away(tmp_path):
    loud = {f"{i}.wav": noise(seed=i, level=0.2 if i % 2 else 0.02) for i in range(4)}
    corpus = write(tmp_path, loud)
    for path in corpus["path"][corpus["label"] == "b"]:
        soundfile.write(path, soundfile.read(path)[0], 8000)
    found = codes(audit(corpus))
    assert "a 16000, b 8000" in found["rates-by-class"].message
    assert "'b' are 20 dB louder than those of 'a'" in found["level-by-class"].message


@pytest.mark.parametrize("n_alike", [1, 9])
def test_rates_with_exceptions_give_labels_away(n_alike, tmp_path):
    corpus = write(tmp_path, good(24))
    for path in corpus["path"][corpus["label"] == "b"][n_alike:]:
        soundfile.write(path, soundfile.read(path)[0], 8000)
    found = codes(audit(corpus))
    if n_alike == 1:
        assert "'a' and 'b' (Hz: a 16000, b 8000 (92%) and 16000 (8%))" in found["rates-by-class"].message
    else:
        assert "rates-by-class" not in found
    assert "rates-by-class" not in codes(audit(corpus.iloc[:8]))  # too few to tell


@pytest.mark.parametrize("n_alike", [0, 6])
@pytest.mark.parametrize("end", ["begin", "end"])
def test_silence_that_gives_labels_away(end, n_alike, tmp_path):
    clips = good(24)
    for name in list(clips)[1 + 2 * n_alike :: 2]:  # of label b
        clips[name] = np.concatenate([np.zeros(RATE // 5), clips[name]][:: 1 if end == "begin" else -1])
    corpus = write(tmp_path, clips)
    found = codes(audit(corpus))
    if n_alike:
        assert "silence-by-class" not in found
    else:
        message = f"clips of 'b' {end} with 0.20 s of silence, those of 'a' with 0.00 s (medians)"
        assert message in found["silence-by-class"].message
        assert "silence-by-class" not in codes(audit(corpus.iloc[:18]))  # too few to tell


def test_broken_clips_are_findings(tmp_path, broken):
    corpus = write(tmp_path, good(3))
    corpus.loc[1, "path"] = broken
    found = codes(audit(corpus))["broken"]
    assert found.rows == (1,)
    assert "1 of 3 clips cannot be read: 1 because it cannot be read as audio" in found.message
    corpus.loc[0, "path"] = str(tmp_path / "missing.wav")
    found = codes(audit(corpus))["broken"]
    assert "1 because there is no such file" in found.message
    assert "are relative to the folder of the table, with / between folders" in found.remedy
    assert codes(audit(corpus.iloc[:2]))["broken"].severity == "error"
    corpus.loc[0, "path"] = broken
    assert "2 because each cannot be read as audio" in codes(audit(corpus))["broken"].message
    soundfile.write(corpus["path"][2], np.zeros(0), RATE)
    assert "1 because it holds no samples" in codes(audit(corpus))["broken"].message
    soundfile.write(corpus["path"][2], np.full(1000, np.nan), RATE, subtype="FLOAT")
    assert "1 because it holds NaN or infinite samples" in codes(audit(corpus))["broken"].message


def test_the_most_frequent_reasons_of_broken_clips_are_listed(tmp_path):
    """More than five kinds of damage; each end of a segment is a reason of its own."""
    corpus = write(tmp_path, good(8)).assign(start=0.0, end=[100.0, 100.0, *range(101, 107)])
    found = codes(audit(corpus))["broken"].message
    assert found.startswith("8 of 8 clips cannot be read: 2 because")
    assert found.count("because") == 5
    assert found.endswith("; …")


def test_clips_without_a_speaker_or_label(tmp_path, pipeline):
    corpus = write(tmp_path, good(4))
    for column in ("speaker", "label"):
        odd = corpus.copy()
        odd.loc[2, column] = None
        odd.to_csv(tmp_path / "clips.csv", index=False)
        for use in (audit, lambda table: evaluate(pipeline, table), lambda table: read_corpus(tmp_path / "clips.csv")):
            with pytest.raises(ValueError, match=rf"Got 1 of 4 clips without '{column}' \(.*2.wav\)"):
                use(odd)
    assert len(read_corpus(tmp_path / "clips.csv", to_predict=True)) == 4


def test_a_label_misspelt_once_is_no_rare_class(tmp_path):
    corpus = write(tmp_path, good(8))
    corpus.loc[0, "label"] = "A "
    corpus.loc[1, "label"] = "c"
    found = audit(corpus)
    assert [finding.clips for finding in found.findings if finding.code == "rare-class"] == [(str(tmp_path / "1.wav"),)]
    assert "'A ' 1, a 3, b 3, c 1" in str(found)


def test_a_single_label_is_an_error_before_any_clip_is_read(tmp_path, pipeline, encoded):
    corpus = write(tmp_path, good(4)).assign(label="a")
    Path(corpus["path"][0]).unlink()
    for use in (train, evaluate):
        with pytest.raises(
            ValueError, match="one-class: all clips have the label 'a', so there is nothing to classify"
        ):
            use(pipeline, corpus)
    assert not encoded


def test_a_table_without_labels_has_a_note(tmp_path):
    found = codes(audit(write(tmp_path, good(4)).drop(columns="label")))["no-labels"]
    assert found.severity == "note"
    assert "(--label-column)" in found.remedy
    table = audit(write(tmp_path, good(4)).rename(columns={"label": "Emotion"}), sound=False)
    assert "but 'Emotion' with 2 values may be it" in codes(table)["no-labels"].message
    assert "target='Emotion' (--label-column Emotion)" in codes(table)["no-labels"].remedy


def test_findings_that_are_right_can_be_accepted(vowels, pipeline):
    vowels.loc[1, "path"] = vowels.loc[0, "path"]
    found = audit(vowels)
    assert [finding.code for finding in found.errors] == ["copies-across-labels"]
    accepted = found.accept(["copies-across-labels"])
    accepted.enforce()
    assert not accepted.errors
    assert accepted.as_dict()["accepted"] == ["copies-across-labels"]
    assert "error, accepted: copies-across-labels" in str(accepted)
    assert len(train(pipeline, vowels, accept=["copies-across-labels"]).classes_) == 3
    evaluation = evaluate(pipeline, vowels, n_folds=2, accept=["copies-across-labels"])
    assert evaluation.audit.accepted == ("copies-across-labels",)
    with pytest.raises(ValueError, match="Got accept='copies-across', expected one of"):
        found.accept(["copies-across"])


def test_codes_are_those_of_the_findings():
    source = "".join(Path(module.__file__).read_text() for module in (sound_checks, table_checks))
    written = re.findall(r'(?:finding|^    )\(\s*"([a-z-]+)",', source, re.MULTILINE)
    assert sorted(itertools.chain(*CODES.values())) == sorted(written)


def test_a_column_that_may_be_speakers_is_named_before_decoding(tmp_path, pipeline):
    corpus = write(tmp_path, good(4)).rename(columns={"speaker": "speaker_id"})
    with pytest.raises(
        ValueError, match=r"Got folds='speaker', and there is no column 'speaker', but 'speaker_id' with 2"
    ):
        evaluate(pipeline, corpus.assign(path="missing.wav"))


def test_labels_and_speakers_by_other_spellings():
    table = {
        "path": list("123456"),
        "label": ["anger", "anger ", "Anger", "very sad", "very_sad", "calm"],
        "speaker": list("aAbbaa"),
    }
    found = codes(audit(pd.DataFrame(table), sound=False))
    assert found["label-variants"].severity == "error"
    assert "'a'" in found["speaker-variants"].message
    with pytest.raises(
        ValueError,
        match=r"(?s)'Anger' and 'anger' and 'anger ' are labels that differ only by case.*'very sad' and 'very_sad'",
    ):
        audit(pd.DataFrame(table), sound=False).enforce()


@pytest.mark.parametrize("name", ["speaker_id", "Actor", "spk", "client_id", "subjectID"])
def test_a_speaker_column_of_another_name(name, tmp_path):
    corpus = write(tmp_path, good(4)).rename(columns={"speaker": name})
    corpus.to_csv(tmp_path / "clips.csv", index=False)
    finding = codes(audit(read_corpus(tmp_path / "clips.csv"), sound=False))["no-speakers"]
    assert f"speaker_column={name!r} (--speaker-column {name})" in finding.remedy
    named = read_corpus(tmp_path / "clips.csv", speaker_column=name)
    assert named["speaker"].tolist() == ["s0", "s0", "s1", "s1"]
    with pytest.raises(ValueError, match="Got speaker_column='nobody', expected one of"):
        read_corpus(tmp_path / "clips.csv", speaker_column="nobody")


def test_training_without_speakers_is_asked_for(vowels, pipeline):
    unknown = vowels.drop(columns="speaker")
    with pytest.raises(ValueError, match=r"no column 'speaker'.*\(without_speakers=True\) \(--no-speakers\)"):
        train(pipeline, unknown)
    assert not hasattr(train(pipeline, unknown, without_speakers=True), "speakers_")


def test_evaluating_without_speakers_names_no_option_of_training(vowels, pipeline):
    with pytest.raises(ValueError, match=r"folds='random' \(--folds random\) needs none, but its results") as raised:
        evaluate(pipeline, vowels.drop(columns="speaker"))
    assert "without_speakers" not in str(raised.value)
    assert "--no-speakers" not in str(raised.value)


def test_speakers_that_are_clips(tmp_path):
    table = pd.DataFrame(
        {"path": [str(i) for i in range(24)], "label": list("ab") * 12, "speaker": [f"c{i}" for i in range(24)]}
    )
    assert "folds of speakers are random folds" in codes(audit(table, sound=False))["speaker-per-clip"].message


@pytest.mark.parametrize("name", ["Unknown", "unknown_speaker", "nan", "N/A", "None", "?", "-"])
def test_speakers_who_are_not_known(name):
    speaker = np.repeat(["anna", "ben", "nancy", name], 6)
    table = pd.DataFrame({"path": [str(i) for i in range(24)], "label": list("ab") * 12, "speaker": speaker})
    found = codes(audit(table, sound=False))["unknown-speakers"]
    assert f"the speaker {name!r} of 6 of 24 clips counts as one, but may be several" in found.message
    assert found.rows == tuple(range(18, 24))
    assert "unknown-speakers" not in codes(audit(table.iloc[:18], sound=False))


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ("abab", "92% of clips have the most frequent label of their speaker, and 5 of 6 speakers have one label only"),
        ("aaaa", None),  # as a gender, which belongs to the speakers
        ("abab" * 5, None),  # most clips are of speakers with both labels
    ],
)
def test_speakers_who_give_labels_away(others, message):
    labels = "aaaabbbbaaaabbbbaaaa" + others
    speakers = [*np.repeat(["anna", "ben", "cleo", "dan", "eve"], 4), *np.repeat("fay", len(others))]
    once = pd.DataFrame({"label": list("ab"), "speaker": ["gus", "hal"]})  # speakers of one clip are no evidence
    table = pd.concat([pd.DataFrame({"label": list(labels), "speaker": speakers}), once], ignore_index=True)
    found = codes(audit(table.assign(path=table.index.astype(str)), sound=False))
    assert found.get("speakers-by-class") is None if message is None else message in found["speakers-by-class"].message
    frequent = table.assign(path=table.index.astype(str), label=["b", *["a"] * (len(table) - 1)])
    assert "speakers-by-class" not in codes(audit(frequent, sound=False))  # the label alone is as good a guess


def test_labels_of_one_corpus():
    table = pd.DataFrame({"label": ["calm", "sad", "sad", "bored", "sad", "bored"], "corpus": [*"aabbcc"]})
    table = table.assign(path=table.index.astype(str), speaker=table["corpus"] + "1")
    found = codes(audit(table, sound=False))["corpora-by-class"]
    assert "1 label of 3 occurs in one of 3 corpora only ('calm' in a), so that rooms" in found.message
    assert found.rows == (0,)
    for shared in (table.iloc[1:], table.assign(corpus="a"), table.drop(columns="corpus")):
        assert "corpora-by-class" not in codes(audit(shared.reset_index(drop=True), sound=False))


@pytest.mark.parametrize("use", [train, evaluate])
def test_a_code_alone_is_no_list(use, sixty_clips):
    corpus, features = sixty_clips
    with pytest.raises(ValueError, match=r"Got accept='copies', expected a list of names; pass \['copies'\]"):
        use(LogisticRegression(), corpus, features=features, accept="copies")


@pytest.mark.usefixtures("quick")
def test_the_command(tmp_path, capsys):
    (tmp_path / "clips").mkdir()
    corpus = write(tmp_path / "clips", good(12))
    odd = corpus.rename(columns={"path": "file", "label": "feeling", "speaker": "who"})
    odd.to_csv(tmp_path / "clips.csv", index=False)
    columns = ["--path-column", "file", "--label-column", "feeling"]
    named = [*columns, "--speaker-column", "who"]
    source = str(tmp_path / "clips.csv")
    assert cli.main(["audit", source, *named, "--output", str(tmp_path / "audit.json")]) == 0
    assert "12 clips of 6 speakers" in capsys.readouterr().out
    assert json.loads((tmp_path / "audit.json").read_text())["classes"] == {"a": 6, "b": 6}
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit", source, *columns])
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert "error: no-speakers" in out
    assert "1 error in the corpus, expected none" in err
    model = ["--output", str(tmp_path / "model"), "--quiet"]
    with pytest.raises(SystemExit):
        cli.main(["train", source, *columns, *model])
    assert "--no-speakers" in capsys.readouterr().err
    assert not Path(tmp_path, "model").exists()
    assert cli.main(["train", source, *columns, *model, "--no-speakers"]) == 0
    assert cli.main(["evaluate", source, *named, "--n-folds", "2", "--quiet"]) == 0
    assert cli.main(["audit", source, *columns, "--accept", "no-speakers"]) == 0
    odd.loc[1, "file"] = odd.loc[0, "file"]
    odd.to_csv(tmp_path / "clips.csv", index=False)
    accepted = ["--accept", "copies-across-labels", "--output", str(tmp_path / "measures.json")]
    assert cli.main(["evaluate", source, *named, "--n-folds", "2", "--quiet", *accepted]) == 0
    assert json.loads((tmp_path / "measures.json").read_text())["audit"]["accepted"] == ["copies-across-labels"]
