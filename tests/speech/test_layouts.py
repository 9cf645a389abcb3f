"""Parsers of well-known corpora's names, on lists of names."""

import pandas as pd
import pytest

from gendiffclf.speech import LAYOUTS, read_corpus

EMOTIONS = {"angry", "bored", "calm", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"}
# A path, and some of what it says.
NAMES = {
    "ravdess": [
        (
            "Actor_01/03-01-05-02-01-02-01.wav",
            {"emotion": "angry", "speaker": "01", "gender": "male", "intensity": "strong", "channel": "speech"},
        ),
        ("Actor_24/03-02-08-01-02-01-24.flac", {"emotion": "surprised", "gender": "female", "channel": "song"}),
        ("03-01-01-01-01-01-02.wav", {"emotion": "neutral", "speaker": "02", "repetition": "01"}),
    ],
    "emodb": [
        ("wav/03a01Fa.wav", {"emotion": "happy", "speaker": "03", "gender": "male", "sentence": "a01", "version": "a"}),
        ("16b10Wb.wav", {"emotion": "angry", "speaker": "16", "gender": "female"}),
        ("08a02La.wav", {"emotion": "bored"}),
        ("08a02Aa.wav", {"emotion": "fearful"}),
    ],
    "crema-d": [
        ("1001_DFA_ANG_XX.wav", {"emotion": "angry", "speaker": "1001", "intensity": "unspecified"}),
        ("AudioWAV/1091_IEO_SAD_LO.wav", {"emotion": "sad", "intensity": "low", "sentence": "IEO"}),
        ("1040_ITH_SAD_X.wav", {"intensity": "unspecified"}),
    ],
    "savee": [
        ("DC/a01.wav", {"emotion": "angry", "speaker": "DC", "gender": "male"}),
        ("AudioData/KL/sa15.wav", {"emotion": "sad", "speaker": "KL", "sentence": "15"}),
        ("JE_su02.wav", {"emotion": "surprised", "speaker": "JE"}),
        ("JK_n30.wav", {"emotion": "neutral"}),
    ],
    "tess": [
        ("OAF_angry/OAF_back_angry.wav", {"emotion": "angry", "speaker": "OAF", "gender": "female", "word": "back"}),
        ("YAF_youth_ps.wav", {"emotion": "surprised", "speaker": "YAF"}),
        ("OA_bite_neutral.wav", {"speaker": "OAF", "emotion": "neutral"}),
    ],
    "meld": [
        ("train_splits/dia0_utt3.wav", {"split": "train", "dialogue": 0, "utterance": 3}),
        ("MELD.Raw/output_repeated_splits_test/dia12_utt0.flac", {"split": "test", "dialogue": 12}),
        ("dev_splits_complete/dia1_utt1.wav", {"split": "dev"}),
    ],
    "nemo": [
        ("samples/KB0_anger_12.wav", {"emotion": "angry", "speaker": "KB0", "sentence": "12"}),
        ("KB0_surprised_3.wav", {"emotion": "surprised"}),
        ("KB0_happiness_3.wav", {"emotion": "happy"}),
    ],
    "urdu": [
        ("Angry/SM1_F10_A010.wav", {"emotion": "angry", "speaker": "SM1", "gender": "male"}),
        ("SF11_F2_N02.wav", {"emotion": "neutral", "speaker": "SF11", "gender": "female"}),
    ],
}
UNFIT = {
    "ravdess": ["03-01-09-01-01-01-01.wav", "readme.wav", "03-01-01-01-01-01.wav"],
    "emodb": ["04a01Fa.wav", "03a01Xa.wav"],
    "crema-d": ["1001_DFA_JOY_XX.wav"],
    "savee": ["XX/a01.wav", "DC/x01.wav", "a01.wav"],
    "tess": ["XAF_back_angry.wav"],
    "meld": ["dia0_utt0.wav", "train/utt0.wav"],
    "nemo": ["KB0_boredom_1.wav"],
    "urdu": ["SX1_F10_A010.wav"],
}


def touch(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_every_layout_has_names():
    assert set(NAMES) == set(UNFIT) == set(LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_are_understood(layout):
    for path, expected in NAMES[layout]:
        row = LAYOUTS[layout].parse(path)
        assert row is not None, path
        assert {name: row[name] for name in expected} == expected
        assert row.get("emotion", "angry") in EMOTIONS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_names_are_not(layout):
    for path in UNFIT[layout]:
        assert LAYOUTS[layout].parse(path) is None, path


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"meld"}))
def test_examples_fit_their_layout(layout):
    for example in LAYOUTS[layout].example.split(" or "):
        assert LAYOUTS[layout].parse(example)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"meld"}))
def test_a_folder_becomes_a_table(layout, tmp_path):
    touch(tmp_path, [name for name, _ in NAMES[layout]])
    corpus = read_corpus(tmp_path, layout=layout)
    assert list(corpus.columns[:3]) == ["path", "label", "speaker"]
    assert (corpus["label"] == corpus["emotion"]).all()
    assert len(corpus) == len(NAMES[layout])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_does_not_fit_is_named(layout, tmp_path):
    touch(tmp_path, [*UNFIT[layout], NAMES[layout][0][0]])
    with pytest.raises(
        ValueError, match=rf"Got {len(UNFIT[layout])} of .* that do not match .*{LAYOUTS[layout].title}"
    ):
        read_corpus(tmp_path, layout=layout)


@pytest.mark.parametrize("on_mismatch", ["raise", "warn"])
def test_a_layout_that_fits_is_named(on_mismatch, tmp_path):
    touch(tmp_path, [name for name, _ in NAMES["urdu"]])
    with pytest.raises(
        ValueError, match=r"expected names like .*, as EmoDB has them; layout='urdu' \(--layout urdu\) fits"
    ):
        read_corpus(tmp_path, layout="emodb", on_mismatch=on_mismatch)
    touch(tmp_path, ["another.wav"])
    with pytest.raises(ValueError, match="as EmoDB has them; choose another layout or pattern"):
        read_corpus(tmp_path, layout="emodb", on_mismatch=on_mismatch)


def test_crema_d_takes_sex_from_its_table(tmp_path):
    touch(tmp_path, ["AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1002_DFA_ANG_XX.wav"])
    with pytest.raises(
        ValueError, match=r"Got target='gender' without VideoDemographics.csv in or next to .*; add it\."
    ):
        read_corpus(tmp_path, layout="crema-d", target="gender")
    with pytest.raises(ValueError, match="Got target='accent', expected one of the columns"):
        read_corpus(tmp_path, layout="crema-d", target="accent")
    people = "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,x,y\n1002,21,Female,x,y\n"
    (tmp_path / "VideoDemographics.csv").write_text(people)
    for folder in (tmp_path, tmp_path / "AudioWAV"):  # in the folder, or beside it
        corpus = read_corpus(folder, layout="crema-d", target="gender")
        assert corpus["label"].tolist() == ["male", "female"]
        assert corpus["age"].tolist() == ["51", "21"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ActorID;Age;Sex\n1001;51;Male\n", r"with the columns \['ActorID;Age;Sex'\], .* separated by commas; replace"),
        ("ActorID,Age\n1001,51\n", r"with the columns \['ActorID', 'Age'\], .* with the columns ActorID, Sex, Age, "),
        ("", "which is empty, expected a table in UTF-8 with the columns ActorID, Sex, Age"),
        ("ActorID,Age,Sex\n1001,51,M\xe4nnlich\n", "with bytes that are not UTF-8"),
    ],
)
def test_metadata_of_another_form_is_named(content, message, tmp_path):
    touch(tmp_path, ["1001_DFA_ANG_XX.wav"])
    (tmp_path / "VideoDemographics.csv").write_bytes(content.encode("latin1"))
    with pytest.raises(ValueError, match=f"Got .*VideoDemographics.csv,? {message}"):
        read_corpus(tmp_path, layout="crema-d")


def test_nemo_takes_gender_from_its_table(tmp_path):
    touch(tmp_path, ["samples/KB0_anger_12.wav"])
    (tmp_path / "data.tsv").write_text(
        "file_id\temotion\traw_text\tspeaker_id\tgender\tage\nKB0_anger_12.wav\tanger\ta, b\t KB0\tmale\t30\n"
    )
    corpus = read_corpus(tmp_path, layout="nemo", target="gender")
    assert corpus[["label", "speaker", "age"]].values.tolist() == [["male", "KB0", "30"]]


def test_meld_takes_emotions_from_its_tables(tmp_path):
    touch(tmp_path, ["train_splits/dia0_utt0.wav", "output_repeated_splits_test/dia0_utt0.wav"])
    touch(tmp_path, ["output_repeated_splits_test/final_videos_testdia0_utt0.wav"])
    touch(tmp_path, ["train_splits/._dia0_utt0.wav"])
    with pytest.raises(ValueError, match=r"without test_sent_emo\.csv"):
        read_corpus(tmp_path, layout="meld")
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
    (tmp_path / "train_sent_emo.csv").write_text(f'{head}1,"Oh, no",Rachel,joy,positive,0,0\n')
    (tmp_path / "test_sent_emo.csv").write_text(f"{head}1,What,The Waiter,anger,negative,0,0\n")
    corpus = read_corpus(tmp_path, layout="meld").set_index("split")
    assert corpus["label"].to_dict() == {"train": "happy", "test": "angry"}
    assert corpus.loc["train", ["speaker", "gender", "text"]].tolist() == ["Rachel", "female", "Oh, no"]
    assert pd.isna(corpus.loc["test", "gender"])
    with pytest.raises(ValueError, match=r"Got 1 of 2 clips without 'gender' \(.*dia0_utt0.wav\)"):
        read_corpus(tmp_path, layout="meld", target="gender")


def test_second_copies_are_left_out(tmp_path):
    names = ["Actor_01/03-01-05-02-01-02-01.wav", "all/Actor_01/03-01-05-02-01-02-01.wav"]
    touch(tmp_path, names)
    with pytest.warns(UserWarning, match=r"Got 1 of 2 files twice \(.*all"):
        corpus = read_corpus(tmp_path, layout="ravdess")
    assert len(corpus) == 1


def test_a_clip_in_two_formats_is_one(tmp_path):
    """As in CREMA-D, which has a folder of WAV and one of MP3 files."""
    names = [f"{kind}/1001_{name}_XX.{kind}" for kind in ("mp3", "wav") for name in ("DFA_ANG", "IEO_SAD")]
    touch(tmp_path, [*names, "again/1001_DFA_ANG_XX.wav"])
    (tmp_path / names[2]).write_bytes(b"more than in the other")
    with pytest.warns(UserWarning, match=r"Got 3 of 5 files twice \(.*again/1001_DFA_ANG_XX.wav, .*mp3, .*mp3\)"):
        corpus = read_corpus(tmp_path, layout="crema-d")
    assert corpus["path"].tolist() == [str(tmp_path / name) for name in names[2:]]


def test_files_of_other_speakers_are_no_copies(tmp_path):
    touch(tmp_path, [f"{speaker}/{take}.wav" for speaker in ("DC", "JE") for take in ("a01", "sa01")])
    assert read_corpus(tmp_path, layout="savee")["speaker"].tolist() == ["DC", "DC", "JE", "JE"]


def test_links_to_nowhere_are_clips(tmp_path):
    touch(tmp_path, ["a/DC/a01.wav"])
    for folder in ("b", "c"):
        (tmp_path / folder / "DC").mkdir(parents=True)
        (tmp_path / folder / "DC" / "a01.wav").symlink_to(tmp_path / "nowhere")
    assert len(read_corpus(tmp_path, layout="savee")) == 3
