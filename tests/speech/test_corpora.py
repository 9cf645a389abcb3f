"""Tables from folders by pattern, from CSV, from single clips."""

import math
import os
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from gendiffclf.speech import audit, read_corpus
from gendiffclf.speech.corpora import check_corpus, clip_name, clips

from .test_layouts import touch


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("{label}/{speaker}_*.wav", "calm/anna_b_1.wav", {"label": "calm", "speaker": "anna"}),
        ("{speaker}/{label}.*", "anna/calm.flac", {"label": "calm", "speaker": "anna"}),
        ("**/{label}-{}.wav", "a/b/calm-7.wav", {"label": "calm"}),
        ("**/{label}-{}.wav", "calm-7.wav", {"label": "calm"}),
        ("{speaker}/{speaker}_{label}.wav", "anna/anna_calm.wav", {"label": "calm", "speaker": "anna"}),
        ("{label}/take ({room})*", "calm/take (1).wav", {"label": "calm", "room": "1"}),
    ],
)
def test_patterns(pattern, name, expected, tmp_path):
    touch(tmp_path, [name, ".hidden.wav", "notes.txt"])
    (row,) = read_corpus(tmp_path, pattern=pattern).to_dict("records")
    assert row == {"path": str(tmp_path / name), **expected}


def test_hidden_folders_are_ignored(tmp_path):
    corpus = tmp_path / ".corpus"  # unless it is the source itself
    touch(corpus, ["calm/a.wav", ".Trash-1000/files/calm/b.wav", "calm/.ipynb_checkpoints/a-checkpoint.wav"])
    assert read_corpus(corpus, pattern="**/{label}/*.wav")["path"].tolist() == [str(corpus / "calm" / "a.wav")]


def test_unfit_files_raise_or_are_left_out(tmp_path):
    touch(tmp_path, ["calm/a_1.wav", *(f"stray{i}.wav" for i in range(5))])
    message = r"Got 5 of 6 files .* \(stray0.wav, stray1.wav, stray2.wav, …\), expected paths like \{label\}/"
    with pytest.raises(ValueError, match=message):
        read_corpus(tmp_path, pattern="{label}/{speaker}_*")
    with pytest.warns(UserWarning, match="Got 5 of 6 .* left out"):
        corpus = read_corpus(tmp_path, pattern="{label}/{speaker}_*", on_mismatch="warn")
    assert len(corpus) == 1
    with pytest.raises(ValueError, match="Got 6 of 6"):
        read_corpus(tmp_path, pattern="{label}/x/{speaker}", on_mismatch="warn")


def test_a_csv_keeps_its_labels_as_they_are(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text(f"path,label,speaker,start,end\na.wav,NA,01,0.5,2\n{tmp_path}/b.wav,02,1,,\n")
    corpus = read_corpus(path)
    assert corpus["label"].tolist() == ["NA", "02"]
    assert corpus["speaker"].tolist() == ["01", "1"]
    assert corpus["path"].tolist() == [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    first, second = clips(corpus)
    assert first == (str(tmp_path / "a.wav"), 0.5, 2.0)
    assert math.isnan(second[1])


def test_target_chooses_the_label(tmp_path):
    path = tmp_path / "clips.tsv"
    path.write_text("path\tlabel\tgender\na.wav\tcalm\tfemale\n")
    assert read_corpus(path)["label"].tolist() == ["calm"]
    assert read_corpus(path, target="gender")["label"].tolist() == ["female"]
    with pytest.raises(ValueError, match="Got target='age', expected one of the columns"):
        read_corpus(path, target="age")


def test_spaces_after_commas_are_no_part_of_names_and_cells(tmp_path):
    (tmp_path / "clips.csv").write_text('path, label , speaker\na.wav, "very, very sad", anna\n')
    corpus = read_corpus(tmp_path / "clips.csv")
    assert corpus.to_dict("records") == [
        {"path": str(tmp_path / "a.wav"), "label": "very, very sad", "speaker": "anna"}
    ]
    (tmp_path / "clips.csv").write_text("path,label,speaker\na.wav, sad,anna\n")
    assert read_corpus(tmp_path / "clips.csv")["label"].tolist() == [" sad"]  # which the audit reports
    (tmp_path / "clips.csv").write_text("path,label, label\na.wav,sad,x\n")
    assert read_corpus(tmp_path / "clips.csv")["label"].tolist() == ["sad"]


def test_clips_without_labels_are_for_prediction(tmp_path):
    touch(tmp_path, ["a.wav", "b/c.flac"])
    assert list(read_corpus(tmp_path).columns) == ["path"]
    assert read_corpus(tmp_path / "a.wav")["path"].tolist() == [str(tmp_path / "a.wav")]
    assert clips(read_corpus(tmp_path)) == [str(tmp_path / "a.wav"), str(tmp_path / "b" / "c.flac")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\na.wav,x\n", "with the columns .*'file'.*, expected 'path'"),
        ("file,label\na.wav,x\n", "specify the column of paths by path_column .--path-column."),
        (
            "",
            "clips.csv, which is empty, expected a table in UTF-8 with columns separated by commas .*; add a header and rows",
        ),
        (
            "path,label\na.wav,fröhlich\n".encode("latin1"),
            "clips.csv with bytes .* not UTF-8, .* in UTF-8 .*; convert it, for example with `iconv -f latin1 ",
        ),
        ("path,label\na.wav,x\n".encode("utf-16"), "not UTF-8, .*; convert it, for example with `iconv -f utf-16 "),
        (
            "path;label\na.wav;x\n",
            r"clips.csv with the columns \['path;label'\], .* separated by commas .*; save it with commas",
        ),
        ("path,label\na.wav,x\na,b,c\n", "clips.csv with rows of unequal length .* separated by commas .*; quote"),
        (
            "path,label\na.wav,x,1\nb.wav,y,2\n",
            "clips.csv with rows of unequal length .* separated by commas .*; quote",
        ),
        ("path,label\n", "with 0 clips"),
        ("path,label\na.wav,x\n,y\n", r"Got 1 of 2 clips without 'path' \(row 2\)"),
        ("path,label\na.wav,x\nb.wav,\n", r"Got 1 of 2 clips without 'label' \(.*b.wav\)"),
        (
            'path,text,label\na.wav,"hi,x\nb.wav,ho,y\nc.wav,"last,z\n',
            "with a quote in row 1 that ends only in a later line",
        ),
        ("path,start\na.wav,soon\n", "Got start='soon' for .*a.wav in row 1, expected seconds"),
    ],
)
def test_wrong_tables(content, message, tmp_path):
    (tmp_path / "clips.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_corpus(tmp_path / "clips.csv")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": "nobody"}, "Got layout='nobody', expected one of 'ravdess'"),
        ({"layout": "emodb", "pattern": "{label}"}, "expected one of them"),
        ({"pattern": "*.wav"}, "without columns"),
        ({"pattern": "{1a}.wav"}, "expected names of columns"),
        ({"pattern": "{path}.wav"}, "which is the path itself"),
        ({"on_mismatch": "ignore"}, "Got on_mismatch='ignore'"),
    ],
)
def test_wrong_settings(settings, message, tmp_path):
    touch(tmp_path, ["a.wav"])
    with pytest.raises(ValueError, match=message):
        read_corpus(tmp_path, **settings)


def test_wrong_sources(tmp_path):
    with pytest.raises(ValueError, match="which does not exist"):
        read_corpus(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="without audio files"):
        read_corpus(tmp_path)
    touch(tmp_path, ["dia0_utt0.mp4"])
    with pytest.raises(ValueError, match="convert its 1 other recordings"):
        read_corpus(tmp_path, layout="meld")
    touch(tmp_path, ["a.wav"])
    with pytest.raises(ValueError, match="with a layout or pattern, expected a folder"):
        read_corpus(tmp_path / "a.wav", layout="emodb")
    (tmp_path / "clips.jsonl").touch()
    with pytest.raises(ValueError, match=r"clips.jsonl', expected a folder, a table .*; save it as .csv"):
        read_corpus(tmp_path / "clips.jsonl")


def test_tables_of_ones_own_are_checked():
    with pytest.raises(ValueError, match="of type list"):
        check_corpus([])
    with pytest.raises(ValueError, match="of 0 clips"):
        check_corpus(pd.DataFrame({"path": []}))
    with pytest.raises(
        ValueError, match=r"expected 'label' among them; take .*layout .*--pattern .*target \(--label-column\)"
    ):
        check_corpus(pd.DataFrame({"path": ["a.wav"]}))
    with pytest.raises(ValueError, match=r"Got 1 of 2 clips without 'path' \(row 2\)"):
        check_corpus(pd.DataFrame({"path": ["a.wav", None], "label": ["x", "y"]}, index=["r1", "r2"]))
    with pytest.raises(ValueError, match="Got 1 of 2 clips without 'label'"):
        check_corpus(pd.DataFrame({"path": ["a.wav", "b.wav"], "label": ["x", None]}))
    with pytest.raises(ValueError, match="Got labels of which some are text, expected all or none"):
        check_corpus(pd.DataFrame({"path": ["a.wav", "b.wav"], "label": ["x", 1]}))


@pytest.mark.parametrize("times", [["0.5", ""], [0.5, pd.NA], pd.array([0.5, None], "Float64"), [0.5, None]])
def test_times_may_be_text_or_nullable(times):
    found = check_corpus(pd.DataFrame({"path": "a.wav", "label": ["x", "y"], "start": times}))
    np.testing.assert_array_equal(found["start"], [0.5, np.nan])
    assert [clip_name("a.wav", row) for _, row in found.iterrows()] == ["a.wav, 0.5 s to the end", "a.wav"]


def test_stray_quotes_in_a_table_with_tabs_are_text(tmp_path):
    texts = ["hi", '"Hello there', "2nd", '"bye', 'so-called "friend"']
    rows = [f"{i}.wav\t{text}" for i, text in enumerate(texts)]
    (tmp_path / "clips.tsv").write_text("\n".join(["path\ttext", *rows]) + "\n")
    assert read_corpus(tmp_path / "clips.tsv")["text"].tolist() == texts
    (tmp_path / "odd.tsv").write_text('path\ttext\na.wav\thi\nb.wav\t"bye\n')
    assert read_corpus(tmp_path / "odd.tsv")["text"].tolist() == ["hi", '"bye']
    (tmp_path / "odd.csv").write_text('path,text\na.wav,hi\nb.wav,"bye\n')
    with pytest.raises(ValueError, match="with a quote that does not end"):
        read_corpus(tmp_path / "odd.csv")
    (tmp_path / "quoted.csv").write_text('path,text\na.wav,"well, two\nlines, or so"\n')
    assert read_corpus(tmp_path / "quoted.csv")["text"].tolist() == ["well, two\nlines, or so"]
    (tmp_path / "quoted.tsv").write_text('path\ttext\na.wav\t"two\nlines"\n')
    assert read_corpus(tmp_path / "quoted.tsv")["text"].tolist() == ["two\nlines"]


def test_audio_that_cannot_be_read_is_told(tmp_path):
    touch(tmp_path, ["a.wav", "b.sph", "c.m4a", "d.webm", "e.mp4", "f.wave", "g.MP2", "a.m4a", "other/a.webm"])
    with pytest.warns(
        UserWarning, match=r"Got 4 audio files in .* that end in \.m4a, \.mp4, \.webm; they are left out"
    ):
        corpus = read_corpus(tmp_path)
    assert [path.rpartition("/")[2] for path in corpus["path"]] == ["a.wav", "b.sph", "f.wave", "g.MP2"]


def test_videos_beside_a_corpus_are_no_audio_to_convert(tmp_path):
    touch(tmp_path, ["03-01-05-02-01-02-01.wav", "01-01-05-02-01-02-01.mp4"])
    assert len(read_corpus(tmp_path, layout="ravdess")) == 1  # no warning


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, names are always text")
def test_names_that_are_no_text_are_told(tmp_path):
    touch(tmp_path, ["a.wav"])
    with open(os.fsencode(tmp_path) + b"/caf\xe9.wav", "wb"):
        pass
    with pytest.raises(ValueError, match=r"Got 1 of 2 names in .* that are not UTF-8 .*rename the files"):
        read_corpus(tmp_path)


def test_linked_folders_are_followed_once(tmp_path):
    real = tmp_path / "elsewhere" / "angry"
    real.mkdir(parents=True)
    (real / "anna_1.wav").touch()
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "angry").symlink_to(real)
    (real / "loop").symlink_to(corpus)
    found = read_corpus(corpus, pattern="{label}/{speaker}_*.wav")
    assert found["path"].tolist() == [str(corpus / "angry" / "anna_1.wav")]
    (corpus / "calm").mkdir()
    (corpus / "calm" / "ben_1.wav").touch()
    (corpus / "bored").symlink_to(corpus / "calm")  # beside the folder itself, and before it by name
    found = read_corpus(corpus, pattern="{label}/{speaker}_*.wav")
    assert found["label"].tolist() == ["angry", "calm"]


def test_segments_are_named_with_their_times(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.05, 16000)
    soundfile.write(tmp_path / "long.wav", np.concatenate([noise, np.zeros(16000), noise]), 16000)
    table = pd.DataFrame({"path": str(tmp_path / "long.wav"), "start": [np.nan, 1.25, 2.0], "end": [0.5, 1.5, np.nan]})
    (silent,) = (finding for finding in audit(table).findings if finding.code == "silent")
    assert silent.clips == (f"{tmp_path / 'long.wav'}, 1.25 s to 1.5 s",)
    assert clip_name("a.wav", table.iloc[0]) == "a.wav, 0 s to 0.5 s"
    assert clip_name("a.wav", table.iloc[2]) == "a.wav, 2 s to the end"
    assert clip_name("a.wav", {"start": None}) == "a.wav"


def test_names_with_line_breaks_match(tmp_path):
    (tmp_path / "an\nna").mkdir()
    (tmp_path / "an\nna" / "sad\n1.wav").touch()
    assert len(read_corpus(tmp_path)) == 1
    corpus = read_corpus(tmp_path, pattern="**/{speaker}/{label}*1.wav")
    assert corpus["speaker"].tolist() == ["an\nna"]
