"""What the names of well-known corpora's files say: a parser for each, one line in `LAYOUTS` names it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """
    How a corpus names its clips.

    Attributes
    ----------
    title : str
        The corpus.
    example : str
        A file's name, for messages.
    parse : callable
        From a clip's path below the corpus' folder, with slashes, to the columns that it tells (among them `speaker`
        and `emotion`, if no file of metadata has them); None if it is no clip of this corpus.
    add_metadata : callable, optional
        From the table and the folder to the table with what files of metadata add.
    ignore : str
        Regular expression of names that the corpus itself holds and that are no clips of it.
    """

    title: str
    example: str
    parse: Callable[[str], Row | None]
    add_metadata: Callable[[pd.DataFrame, Path], pd.DataFrame] | None = None
    ignore: str = r"(?!)"


_EKMAN = {
    "anger": "angry",
    "angry": "angry",
    "disgust": "disgusted",
    "fear": "fearful",
    "fearful": "fearful",
    "happiness": "happy",
    "happy": "happy",
    "joy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "sadness": "sad",
    "surprise": "surprised",
    "surprised": "surprised",
    "ps": "surprised",
}
"""One word for each emotion in all corpora, so that a model of one can be tried on another."""

_SEXES = {"m": "male", "f": "female", "male": "male", "female": "female"}


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


_RAVDESS = re.compile(r"(\d\d)-(\d\d)-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
_RAVDESS_EMOTIONS = dict(
    zip(
        (f"{i:02}" for i in range(1, 9)),
        ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised"),
        strict=True,
    )
)


def parse_ravdess(path: str) -> Row | None:
    """modality-channel-emotion-intensity-statement-repetition-actor; odd actors are male."""
    if not (found := _RAVDESS.fullmatch(_stem(path))):
        return None
    modality, channel, emotion, intensity, statement, repetition, actor = found.groups()
    return {
        "speaker": actor,
        "emotion": _RAVDESS_EMOTIONS[emotion],
        "gender": "male" if int(actor) % 2 else "female",
        "intensity": {"01": "normal", "02": "strong"}[intensity],
        "statement": statement,
        "repetition": repetition,
        "channel": {"01": "speech", "02": "song"}.get(channel, channel),
        "modality": modality,
    }


_EMODB = re.compile(r"(\d\d)([ab]\d\d)([WLNFATE])([a-z]?)")
_EMODB_EMOTIONS = {
    "W": "angry",
    "L": "bored",
    "N": "neutral",
    "F": "happy",
    "A": "fearful",
    "T": "sad",
    "E": "disgusted",
}
_EMODB_MEN = ("03", "10", "11", "12", "15")
_EMODB_WOMEN = ("08", "09", "13", "14", "16")


def parse_emodb(path: str) -> Row | None:
    """Speaker, sentence, a letter for the German word of the emotion, version."""
    found = _EMODB.fullmatch(_stem(path))
    if not found or found[1] not in _EMODB_MEN + _EMODB_WOMEN:
        return None
    return {
        "speaker": found[1],
        "emotion": _EMODB_EMOTIONS[found[3]],
        "gender": "male" if found[1] in _EMODB_MEN else "female",
        "sentence": found[2],
        "version": found[4],
    }


_CREMA_D = re.compile(r"(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)")
_CREMA_D_EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgusted",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}


def parse_crema_d(path: str) -> Row | None:
    """actor_sentence_emotion_intensity."""
    if not (found := _CREMA_D.fullmatch(_stem(path))):
        return None
    return {
        "speaker": found[1],
        "emotion": _CREMA_D_EMOTIONS[found[3]],
        "sentence": found[2],
        "intensity": {"LO": "low", "MD": "medium", "HI": "high"}.get(found[4], "unspecified"),
    }


def add_crema_d_metadata(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Sex and age of the actors, from VideoDemographics.csv where it is."""
    people = _metadata(folder, "VideoDemographics.csv")
    if people is None:
        return table
    people = people.set_index("ActorID")
    sex = people["Sex"].str.strip().str.lower().map(_SEXES)
    return table.assign(gender=table["speaker"].map(sex), age=table["speaker"].map(people["Age"]))


_SAVEE = re.compile(r"(?:.*/)?(DC|JE|JK|KL)[_/](sa|su|[adfhn])(\d\d)")
_SAVEE_EMOTIONS = {
    "a": "angry",
    "d": "disgusted",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}


def parse_savee(path: str) -> Row | None:
    """speaker/emotion and sentence, or speaker_emotion and sentence; all four speakers are male."""
    if not (found := _SAVEE.fullmatch(str(PurePosixPath(path).with_suffix("")))):
        return None
    return {"speaker": found[1], "emotion": _SAVEE_EMOTIONS[found[2]], "gender": "male", "sentence": found[3]}


# One published file is named OA_bite_neutral.
_TESS = re.compile(r"(OAF?|YAF)_([A-Za-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)")


def parse_tess(path: str) -> Row | None:
    """speaker_word_emotion; both speakers are female, one old and one young."""
    if not (found := _TESS.fullmatch(_stem(path))):
        return None
    return {
        "speaker": "OAF" if found[1].startswith("O") else "YAF",
        "emotion": _EKMAN[found[3]],
        "gender": "female",
        "word": found[2],
    }


_MELD = re.compile(r"dia(\d+)_utt(\d+)")
_MELD_SPLITS = ("train", "dev", "test")
_MELD_SEXES = {
    **dict.fromkeys(("Rachel", "Monica", "Phoebe"), "female"),
    **dict.fromkeys(("Ross", "Chandler", "Joey"), "male"),
}


def parse_meld(path: str) -> Row | None:
    """dia<dialogue>_utt<utterance> in a folder whose name holds train, dev or test."""
    found = _MELD.fullmatch(_stem(path))
    folders = path.lower().split("/")[:-1]
    split = next((split for folder in reversed(folders) for split in _MELD_SPLITS if split in folder), None)
    if not found or split is None:
        return None
    return {"split": split, "dialogue": int(found[1]), "utterance": int(found[2])}


def add_meld_metadata(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Speakers, emotions and words, from <split>_sent_emo.csv; gender of the six that lead."""
    import pandas as pd

    keys = ["split", "dialogue", "utterance"]
    parts = []
    for split in sorted(set(table["split"])):
        lines = _metadata(folder, f"{split}_sent_emo.csv")
        if lines is None:
            raise ValueError(f"Got {folder} without {split}_sent_emo.csv, expected it: MELD's names tell no emotion.")
        parts.append(
            pd.DataFrame(
                {
                    "split": split,
                    "dialogue": lines["Dialogue_ID"].astype(int),
                    "utterance": lines["Utterance_ID"].astype(int),
                    "speaker": lines["Speaker"].str.strip(),
                    "emotion": lines["Emotion"].str.strip().str.lower().map(_EKMAN),
                    "sentiment": lines["Sentiment"].str.strip().str.lower(),
                    "text": lines["Utterance"],
                }
            )
        )
    known = pd.concat(parts).drop_duplicates(keys)
    merged = table.merge(known, on=keys, how="left", validate="many_to_one")
    return merged.assign(gender=merged["speaker"].map(_MELD_SEXES))


_NEMO = re.compile(r"([A-Za-z0-9]+)_(anger|fear|happiness|neutral|sadness|surprised?)_(\w+)")


def parse_nemo(path: str) -> Row | None:
    """speaker_emotion_sentence."""
    if not (found := _NEMO.fullmatch(_stem(path))):
        return None
    return {"speaker": found[1], "emotion": _EKMAN[found[2]], "sentence": found[3]}


def add_nemo_metadata(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Gender and age, from data.tsv where it is."""
    lines = _metadata(folder, "data.tsv", separator="\t")
    if lines is None:
        return table
    lines = lines.apply(lambda column: column.str.strip())  # identifiers have leading spaces
    people = lines.drop_duplicates("speaker_id").set_index("speaker_id")
    gender = people["gender"].str.lower().map(_SEXES)
    return table.assign(gender=table["speaker"].map(gender), age=table["speaker"].map(people["age"]))


_URDU = re.compile(r"(S([MF])\d+)_F(\d+)_([AHNS])(\d+)")
_URDU_EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}


def parse_urdu(path: str) -> Row | None:
    """S<sex><number>_F<file>_<emotion><number>."""
    if not (found := _URDU.fullmatch(_stem(path))):
        return None
    return {
        "speaker": found[1],
        "emotion": _URDU_EMOTIONS[found[4]],
        "gender": _SEXES[found[2].lower()],
        "file": found[3],
    }


LAYOUTS: dict[str, Layout] = {
    "ravdess": Layout("RAVDESS", "Actor_01/03-01-05-01-02-01-01.wav", parse_ravdess),
    "emodb": Layout("EmoDB", "03a01Fa.wav", parse_emodb),
    "crema-d": Layout("CREMA-D", "1001_DFA_ANG_XX.wav", parse_crema_d, add_crema_d_metadata),
    "savee": Layout("SAVEE", "DC/a01.wav or DC_a01.wav", parse_savee),
    "tess": Layout("TESS", "OAF_back_angry.wav", parse_tess),
    "meld": Layout("MELD", "train_splits/dia0_utt0.wav", parse_meld, add_meld_metadata, ignore=r"final_videos_test.*"),
    "nemo": Layout("nEMO", "AB0_anger_12.wav", parse_nemo, add_nemo_metadata),
    "urdu": Layout("URDU", "SM1_F10_A010.wav", parse_urdu),
}
"""Corpora whose layout is known, by name."""


def _metadata(folder: Path, name: str, separator: str = ",") -> pd.DataFrame | None:
    """A file of metadata in the corpus' folder, below it, or beside it; all values as text."""
    import pandas as pd

    places = [folder / name, *sorted(folder.rglob(name)), folder.parent / name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
