"""The data sets that can be named: where to download them, their checksums and their classes.
Included are those whose checksums several independent projects publish. EMNIST (one archive with
all its parts) and QMNIST (labels that are not IDX bytes) are not supported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DIGITS = tuple("0123456789")
# A network that tells images (28, 28) of one digit, class 0, from others: two digits that touch,
# letters and scribbles. tests/export/make_digit_check.py trains it.
DIGIT_CHECK = Path(__file__).with_name("digit_check.model")


def class_names(classes: Sequence[str], outputs: int) -> list[str]:
    """A name for each output of a network: those of the data set's classes, then numbers."""
    return [*classes, *map(str, range(len(classes), outputs))][:outputs]


@dataclass(frozen=True)
class Source:
    """A data set that can be downloaded.

    Attributes:
        mirrors: addresses of folders, tried in this order.
        files: name -> (size in bytes, SHA-256) of each of the four files as they are downloaded.
        classes: the names of the labels.
    """

    mirrors: tuple[str, ...]
    files: dict[str, tuple[int, str]]
    classes: tuple[str, ...] = DIGITS


def _files(*kinds: tuple[int, str]) -> dict[str, tuple[int, str]]:
    """The values by file name: training images and labels, then test images and labels."""
    contents = ("images-idx3", "labels-idx1")
    names = [f"{part}-{content}-ubyte.gz" for part in ("train", "t10k") for content in contents]
    return dict(zip(names, kinds, strict=True))


SOURCES = {
    "mnist": Source(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        _files(
            (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
    ),
    "fashion-mnist": Source(
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        _files(
            (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        (
            *("t-shirt", "trouser", "pullover", "dress", "coat"),
            *("sandal", "shirt", "sneaker", "bag", "boot"),
        ),
    ),
    "kmnist": Source(
        (
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ),
        _files(
            (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
            (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        ),
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
}
