"""The files of EMNIST (Cohen et al., 2017): handwritten digits and letters, as IDX files or tables
whose images are transposed. It has several parts, such as "balanced". A mapping file gives the code of
the character for each label.
"""

import os
import re
import string
from pathlib import Path

import numpy as np

from ann.data.contents import Contents, Part, pixels
from ann.data.csv import read_csv
from ann.data.idx import read_idx_part
from ann.data.reading import errors_about
from ann.errors import DataFileError, printable_path, printable_text
from ann.files.atomic import read_regular

_FILE = re.compile(r"emnist-([a-z]+)-(train|test)(-(images|labels)-idx[13]-ubyte|\.csv)(\.gz)?")
_MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"  # c and C, for example, are one
# part -> the first label, and the characters, if there is no mapping file
_PARTS = {
    "balanced": (0, _MERGED),
    "bymerge": (0, _MERGED),
    "byclass": (0, string.digits + string.ascii_uppercase + string.ascii_lowercase),
    "letters": (1, string.ascii_uppercase),
    "digits": (0, string.digits),
    "mnist": (0, string.digits),
}
_PLACES = ("", "raw", "gzip", "EMNIST/raw")  # torchvision has the second and the last
_MAX_MAPPING = 2**14  # bytes


def is_emnist(path: Path, start: bytes) -> bool:
    """Whether this is one of the files, or a folder that has some."""
    return bool(_FILE.fullmatch(path.name) if start else _parts_in(path))


def _parts_in(folder: Path) -> dict[str, Path]:
    """The names of the parts in a folder -> one of their files."""
    places = [place for place in map(folder.joinpath, _PLACES) if place.is_dir()]
    found = ((_FILE.fullmatch(name), place) for place in places for name in os.listdir(place))
    return {match[1]: place / match[0] for match, place in found if match}


def read_emnist(path: Path, progress: object = None) -> Contents:
    """The part that a file belongs to, or the only part in a folder."""
    parts = _parts_in(path)
    if len(parts) > 1:
        files = ", ".join(f"emnist-{name}-..." for name in sorted(parts))
        raise ValueError(f"several parts of EMNIST; name one of their files, {files}")
    path = next(iter(parts.values()), path)
    name = path.name.split("-")[1]
    characters = _characters(path.with_name(f"emnist-{name}-mapping.txt"), name)
    if ".csv" in path.name:  # as on Kaggle
        found = read_csv(path)
    else:
        stems = (path.with_name(f"emnist-{name}-{kind}") for kind in ("train", "test"))
        idx_train, idx_test = map(read_idx_part, stems)
        found = Contents(idx_train, idx_test)
    train = _upright(found.train, characters)
    test = _upright(found.test, characters) if found.test else None
    return found._replace(train=train, test=test, classes=tuple(characters.values()))


def _characters(path: Path, name: str) -> dict[int, str]:
    """Labels -> characters, in the order of the labels."""
    if not path.exists():
        if name not in _PARTS:
            raise ValueError(f"no mapping file for its labels, {printable_path(path.name)}")
        first, characters = _PARTS[name]
        return dict(enumerate(characters, start=first))
    with errors_about(path):
        found: dict[int, str] = {}
        for line in read_regular(path, _MAX_MAPPING).decode("ascii", "replace").splitlines():
            match = re.fullmatch(r"([0-9]{1,3}) ([0-9]{1,5})( [0-9]{1,5})?", line.strip())
            if match is None or int(match[1]) in found or not chr(int(match[2])).isprintable():
                wanted = "expected a label and the codes of its character, such as 10 65"
                raise ValueError(f"{wanted}, got {printable_text(line, 40)}")
            found[int(match[1])] = chr(int(match[2]))
        if not found:
            raise ValueError("it is empty")
    return dict(sorted(found.items()))


def _upright(part: Part, characters: dict[int, str]) -> Part:
    """Upright images, and labels that count the characters."""
    known = np.array(list(characters))
    unknown = part.labels[~np.isin(part.labels, known)]
    if len(unknown):
        raise DataFileError(f"{part.source}: label {unknown[0]}, which its mapping does not have")
    images = pixels(part.images).transpose(0, 2, 1)
    return Part(part.source, images, np.searchsorted(known, part.labels))
