"""EMNIST (Cohen et al., 2017): handwritten digits and letters, as IDX or CSV files of transposed
images. There are several versions of it, such as "balanced". A mapping file has the code of the
character for each label.
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
_MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"  # c and C, for example, are merged
# version -> the first label, and the characters; they are used if there is no mapping file
_VERSIONS = {
    "balanced": (0, _MERGED),
    "bymerge": (0, _MERGED),
    "byclass": (0, string.digits + string.ascii_uppercase + string.ascii_lowercase),
    "letters": (1, string.ascii_uppercase),
    "digits": (0, string.digits),
    "mnist": (0, string.digits),
}
_SUBFOLDERS = ("", "raw", "gzip", "EMNIST/raw")  # torchvision uses the second and the last
_MAX_MAPPING = 2**14  # bytes


def is_emnist(path: Path, start: bytes) -> bool:
    """Whether this is one of the files, or a folder with some of them."""
    return bool(_FILE.fullmatch(path.name) if start else _versions_in(path))


def _versions_in(folder: Path) -> dict[str, Path]:
    """The names of the versions in a folder -> one of their files."""
    folders = [path for path in map(folder.joinpath, _SUBFOLDERS) if path.is_dir()]
    found = ((_FILE.fullmatch(name), path) for path in folders for name in os.listdir(path))
    return {match[1]: path / match[0] for match, path in found if match}


def read_emnist(path: Path, progress: object = None) -> Contents:
    """The version that a file belongs to, or the only version in a folder."""
    versions = _versions_in(path)
    if len(versions) > 1:
        files = ", ".join(f"emnist-{name}-..." for name in sorted(versions))
        raise ValueError(f"several versions of EMNIST; name one of their files, {files}")
    path = next(iter(versions.values()), path)
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
        if name not in _VERSIONS:
            raise ValueError(f"the file {printable_path(path.name)}, which maps labels, is missing")
        first, characters = _VERSIONS[name]
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
    """Upright images, and labels that are indices of the characters."""
    known = np.array(list(characters))
    unknown = part.labels[~np.isin(part.labels, known)]
    if len(unknown):
        raise DataFileError(f"{part.source}: label {unknown[0]} is not in the mapping file")
    images = pixels(part.images).transpose(0, 2, 1)
    return Part(part.source, images, np.searchsorted(known, part.labels))
