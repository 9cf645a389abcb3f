"""What the names of well-known corpora's files say: a table of patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
Meaning = Mapping[str, str] | Callable[[str], Any]
"""From a code in a name to what it stands for; codes that a mapping lacks stand for themselves."""


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
    pattern : str
        Regular expression of a clip's name without its ending, and of folders before it where they matter. Its named groups are
        columns, among them `speaker` and `emotion` if no file of metadata has them.
    meanings : dict of str to Meaning
        Of the groups that are codes.
    same : dict of str to str
        Columns that are the same for all clips.
    add_metadata : callable, optional
        From the table and the folder to the table with what files of metadata add.
    ignore : str
        Regular expression of names that the corpus itself holds and that are no clips of it.
    """

    title: str
    example: str
    pattern: str
    meanings: dict[str, Meaning] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)
    add_metadata: Callable[[pd.DataFrame, Path], pd.DataFrame] | None = None
    ignore: str = r"(?!)"

    def parse(self, path: str) -> Row | None:
        """From a clip's path below the corpus' folder, with slashes, to its columns; None if it is no clip of this corpus."""
        found = re.fullmatch(f"(?:.*/)?{self.pattern}", str(PurePosixPath(path).with_suffix("")))
        if found is None:
            return None
        return {name: self._meaning(name, code) for name, code in found.groupdict().items()} | self.same

    def _meaning(self, name: str, code: str) -> Any:
        meaning = self.meanings.get(name, {})
        return meaning.get(code, code) if isinstance(meaning, Mapping) else meaning(code)


def add_crema_d_metadata(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Sex and age of the actors, from VideoDemographics.csv where it is."""
    people = _metadata(folder, "VideoDemographics.csv")
    if people is None:
        return table
    people = people.set_index("ActorID")
    sex = people["Sex"].str.strip().str.lower().map(_SEXES)
    return table.assign(gender=table["speaker"].map(sex), age=table["speaker"].map(people["Age"]))


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
                    "emotion": lines["Emotion"].str.strip().str.lower().map(_EMOTIONS),
                    "sentiment": lines["Sentiment"].str.strip().str.lower(),
                    "text": lines["Utterance"],
                }
            )
        )
    known = pd.concat(parts).drop_duplicates(keys)
    merged = table.merge(known, on=keys, how="left", validate="many_to_one")
    return merged.assign(gender=merged["speaker"].map(_MELD_SEXES))


def add_nemo_metadata(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Gender and age, from data.tsv where it is."""
    lines = _metadata(folder, "data.tsv", separator="\t")
    if lines is None:
        return table
    lines = lines.apply(lambda column: column.str.strip())  # identifiers have leading spaces
    people = lines.drop_duplicates("speaker_id").set_index("speaker_id")
    gender = people["gender"].str.lower().map(_SEXES)
    return table.assign(gender=table["speaker"].map(gender), age=table["speaker"].map(people["age"]))


def _metadata(folder: Path, name: str, separator: str = ",") -> pd.DataFrame | None:
    """A file of metadata in the corpus' folder, below it, or beside it; all values as text."""
    import pandas as pd

    places = [folder / name, *sorted(folder.rglob(name)), folder.parent / name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)


_EMOTIONS = {
    **dict.fromkeys(("anger", "angry"), "angry"),
    **dict.fromkeys(("disgust",), "disgusted"),
    **dict.fromkeys(("fear", "fearful"), "fearful"),
    **dict.fromkeys(("happiness", "happy", "joy"), "happy"),
    **dict.fromkeys(("neutral",), "neutral"),
    **dict.fromkeys(("sad", "sadness"), "sad"),
    **dict.fromkeys(("ps", "surprise", "surprised"), "surprised"),
}
"""One word for each emotion in all corpora, so that a model of one can be tried on another."""
_SEXES = {"m": "male", "f": "female", "male": "male", "female": "female"}
_MELD_SEXES = {
    **dict.fromkeys(("Rachel", "Monica", "Phoebe"), "female"),
    **dict.fromkeys(("Ross", "Chandler", "Joey"), "male"),
}


def _numbered(*words: str) -> dict[str, str]:
    """Words by the codes 01, 02 and so on."""
    return {f"{number:02}": word for number, word in enumerate(words, 1)}


LAYOUTS: dict[str, Layout] = {
    "ravdess": Layout(
        "RAVDESS",
        "Actor_01/03-01-05-01-02-01-01.wav",
        r"(?P<modality>\d\d)-(?P<channel>\d\d)-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])-"
        r"(?P<repetition>0[12])-(?P<speaker>(?P<gender>\d\d))",
        {
            "emotion": _numbered("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised"),
            "intensity": _numbered("normal", "strong"),
            "channel": _numbered("speech", "song"),
            "gender": lambda actor: "male" if int(actor) % 2 else "female",
        },
    ),
    "emodb": Layout(  # the emotion is the first letter of its German word
        "EmoDB",
        "03a01Fa.wav",
        r"(?P<speaker>(?P<gender>03|08|09|1[0-6]))(?P<sentence>[ab]\d\d)(?P<emotion>[WLNFATE])(?P<version>[a-z]?)",
        {
            "emotion": {
                "W": "angry",
                "L": "bored",
                "N": "neutral",
                "F": "happy",
                "A": "fearful",
                "T": "sad",
                "E": "disgusted",
            },
            "gender": lambda speaker: "male" if speaker in ("03", "10", "11", "12", "15") else "female",
        },
    ),
    "crema-d": Layout(
        "CREMA-D",
        "1001_DFA_ANG_XX.wav",
        r"(?P<speaker>1\d{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<intensity>LO|MD|HI|XX?)",
        {
            "emotion": {
                "ANG": "angry",
                "DIS": "disgusted",
                "FEA": "fearful",
                "HAP": "happy",
                "NEU": "neutral",
                "SAD": "sad",
            },
            "intensity": {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"},
        },
        add_metadata=add_crema_d_metadata,
    ),
    "savee": Layout(
        "SAVEE",
        "DC/a01.wav or DC_a01.wav",
        r"(?P<speaker>DC|JE|JK|KL)[_/](?P<emotion>sa|su|[adfhn])(?P<sentence>\d\d)",
        {
            "emotion": {
                "a": "angry",
                "d": "disgusted",
                "f": "fearful",
                "h": "happy",
                "n": "neutral",
                "sa": "sad",
                "su": "surprised",
            }
        },
        same={"gender": "male"},
    ),
    "tess": Layout(  # one published file is named OA_bite_neutral
        "TESS",
        "OAF_back_angry.wav",
        r"(?P<speaker>OAF?|YAF)_(?P<word>[A-Za-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)",
        {"emotion": _EMOTIONS, "speaker": {"OA": "OAF"}},
        same={"gender": "female"},
    ),
    "meld": Layout(  # the split is in the name of a folder
        "MELD",
        "train_splits/dia0_utt0.wav",
        r"(?i:.*(?P<split>train|dev|test).*/)dia(?P<dialogue>\d+)_utt(?P<utterance>\d+)",
        {"split": str.lower, "dialogue": int, "utterance": int},
        add_metadata=add_meld_metadata,
        ignore=r"final_videos_test.*",
    ),
    "nemo": Layout(
        "nEMO",
        "AB0_anger_12.wav",
        r"(?P<speaker>[A-Za-z0-9]+)_(?P<emotion>anger|fear|happiness|neutral|sadness|surprised?)_(?P<sentence>\w+)",
        {"emotion": _EMOTIONS},
        add_metadata=add_nemo_metadata,
    ),
    "urdu": Layout(
        "URDU",
        "SM1_F10_A010.wav",
        r"(?P<speaker>S(?P<gender>[MF])\d+)_F(?P<file>\d+)_(?P<emotion>[AHNS])\d+",
        {
            "emotion": {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"},
            "gender": {"M": "male", "F": "female"},
        },
    ),
}
"""Corpora whose layout is known, by name."""
