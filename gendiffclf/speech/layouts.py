"""File name patterns of well-known corpora."""

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
"""Values of the codes in a name; codes that a mapping lacks are kept."""


@dataclass(frozen=True)
class Layout:
    """
    File names of a corpus.

    Attributes
    ----------
    title : str
        Name of the corpus.
    example : str
        Example of a file name, for messages.
    pattern : str
        Regular expression for the name of a clip without suffix, and for its folders if they matter. Named groups become
        columns, including `speaker` and `emotion` unless they are in a metadata file.
    meanings : dict of str to Meaning
        Values of the groups that are codes.
    same : dict of str to str
        Columns with the same value for all clips.
    add_metadata : callable, optional
        Function of the table and the folder that adds columns from metadata files.
    people : tuple of str
        Name of the metadata file with gender and age of the speakers, which may be missing, and its columns of speaker, gender
        and age.
    ignore : str
        Regular expression for names of files in the corpus that are not clips.
    """

    title: str
    example: str
    pattern: str
    meanings: dict[str, Meaning] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)
    add_metadata: Callable[[pd.DataFrame, Path], pd.DataFrame] | None = None
    people: tuple[str, ...] = ()
    ignore: str = r"(?!)"

    def parse(self, path: str) -> Row | None:
        """Return the columns of a clip from its path relative to the corpus, with slashes; None if it does not match."""
        match = re.fullmatch(f"(?:.*/)?{self.pattern}", str(PurePosixPath(path).with_suffix("")), re.DOTALL)
        if match is None:
            return None
        return {name: self._meaning(name, code) for name, code in match.groupdict().items()} | self.same

    def _meaning(self, name: str, code: str) -> Any:
        meaning = self.meanings.get(name, {})
        return meaning.get(code, code) if isinstance(meaning, Mapping) else meaning(code)


def add_people(table: pd.DataFrame, folder: Path, name: str, speaker: str, gender: str, age: str) -> pd.DataFrame:
    """Add gender and age of the speakers from the columns of a metadata file, if it exists."""
    lines = _metadata(folder, name, (speaker, gender, age))
    if lines is None:
        return table
    people = lines.drop_duplicates(speaker).set_index(speaker)
    genders = people[gender].str.lower().map(_SEXES)
    return table.assign(gender=table["speaker"].map(genders), age=table["speaker"].map(people[age]))


def add_meld_metadata(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add speakers, emotions and texts from <split>_sent_emo.csv, and the gender of the six main characters."""
    import pandas as pd

    keys = ["split", "dialogue", "utterance"]
    parts = []
    for split in sorted(set(table["split"])):
        lines = _metadata(folder, f"{split}_sent_emo.csv", _MELD_COLUMNS)
        if lines is None:
            raise ValueError(
                f"Got {folder} without {split}_sent_emo.csv, expected this file of MELD, which holds the emotions; add it."
            )
        columns = {
            "split": split,
            "dialogue": lines["Dialogue_ID"].astype(int),
            "utterance": lines["Utterance_ID"].astype(int),
            "speaker": lines["Speaker"],
            "emotion": lines["Emotion"].str.lower().map(_EMOTIONS),
            "sentiment": lines["Sentiment"].str.lower(),
            "text": lines["Utterance"],
        }
        parts.append(pd.DataFrame(columns))
    metadata = pd.concat(parts).drop_duplicates(keys)
    merged = table.merge(metadata, on=keys, how="left", validate="many_to_one")
    return merged.assign(gender=merged["speaker"].map(_MELD_SEXES))


def _metadata(folder: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """Read a metadata file in, below or next to the corpus' folder, as stripped strings; None if it is missing."""
    from .csv_files import read_csv  # needs pandas

    candidates = [folder / name, *sorted(folder.rglob(name)), folder.parent / name]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        return None
    separator, separators = ("\t", "tabs") if name.endswith(".tsv") else (",", "commas")
    rule = f"expected a table in UTF-8 with the columns {', '.join(columns)}, separated by {separators}"
    lines = read_csv(path, rule, sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    if not set(columns) <= set(lines.columns):
        raise ValueError(
            f"Got {path} with the columns {list(lines.columns)}, {rule}; replace it by the file published with the corpus."
        )
    return lines.apply(lambda column: column.str.strip())


_EMOTIONS = {
    **dict.fromkeys(("anger", "angry"), "angry"),
    "disgust": "disgusted",
    **dict.fromkeys(("fear", "fearful"), "fearful"),
    **dict.fromkeys(("happiness", "happy", "joy"), "happy"),
    "neutral": "neutral",
    **dict.fromkeys(("sad", "sadness"), "sad"),
    **dict.fromkeys(("ps", "surprise", "surprised"), "surprised"),
}
"""The same names of emotions for all corpora, so that a model trained on one can be tested on another."""
_SEXES = {"m": "male", "f": "female", "male": "male", "female": "female"}
_MELD_COLUMNS = ("Dialogue_ID", "Utterance_ID", "Speaker", "Emotion", "Sentiment", "Utterance")
_MELD_SEXES = {
    **dict.fromkeys(("Rachel", "Monica", "Phoebe"), "female"),
    **dict.fromkeys(("Ross", "Chandler", "Joey"), "male"),
}


def _numbered(*words: str) -> dict[str, str]:
    """Map the codes 01, 02 and so on to words."""
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
            "emotion": dict(W="angry", L="bored", N="neutral", F="happy", A="fearful", T="sad", E="disgusted"),
            "gender": lambda speaker: "male" if speaker in ("03", "10", "11", "12", "15") else "female",
        },
    ),
    "crema-d": Layout(
        "CREMA-D",
        "1001_DFA_ANG_XX.wav",
        r"(?P<speaker>1\d{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<intensity>LO|MD|HI|XX?)",
        {
            "emotion": {
                name[:3].upper(): name for name in ("angry", "disgusted", "fearful", "happy", "neutral", "sad")
            },
            "intensity": {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"},
        },
        people=("VideoDemographics.csv", "ActorID", "Sex", "Age"),
    ),
    "savee": Layout(
        "SAVEE",
        "DC/a01.wav or DC_a01.wav",
        r"(?P<speaker>DC|JE|JK|KL)[_/](?P<emotion>sa|su|[adfhn])(?P<sentence>\d\d)",
        {"emotion": dict(a="angry", d="disgusted", f="fearful", h="happy", n="neutral", sa="sad", su="surprised")},
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
        people=("data.tsv", "speaker_id", "gender", "age"),
    ),
    "urdu": Layout(
        "URDU",
        "SM1_F10_A010.wav",
        r"(?P<speaker>S(?P<gender>[MF])\d+)_F(?P<file>\d+)_(?P<emotion>[AHNS])\d+",
        {"emotion": {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}, "gender": {"M": "male", "F": "female"}},
    ),
}
"""Known corpora by name."""
