"""The report of an epoch of training, for callbacks, the screen and the log."""

import html
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from ann.neural_network import Evaluation
from ann.training.curves import curves_svg


@dataclass(frozen=True)
class EpochReport:
    """The results of an epoch, as plain numbers that JSON keeps exactly.

    Attributes:
        epoch: its number, from 1.
        epochs: the number of epochs of the run.
        loss: the mean training loss over the epoch, while the parameters were changing.
        learning_rate: of the last step.
        seconds: how long training took, without the validation.
        images_per_second: of training.
        validation: the results on the validation images, or None if there are none.
    """

    epoch: int
    epochs: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float
    validation: Evaluation | None = None

    def result(self) -> str:
        """The losses and errors as text."""
        text = f"loss {self.loss:.4f}"
        if self.validation:
            found = self.validation
            share = 100 * found.errors / found.count
            text += f"  validation: loss {found.loss:.4f}, {found.errors} wrong ({share:.2f} %)"
        return text

    def to_json(self) -> str:
        """One line of JSON; ``from_fields`` turns its fields into an equal report."""
        return json.dumps(asdict(self))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """The report with the fields of a JSON line. Raises TypeError if they are other fields."""
        validation = fields.get("validation")
        return cls(**{**fields, "validation": Evaluation(**validation) if validation else None})

    def __str__(self) -> str:
        return f"epoch {self.epoch:{len(str(self.epochs))}}/{self.epochs}  {self.result()}"


class EpochReports(list[EpochReport]):
    """The reports of a training run, in a list. Notebooks show them as curves."""

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no epochs yet</p>"
        curves = {"training images": [(report.epoch, report.loss) for report in self]}
        measured = [(one.epoch, one.validation.loss) for one in self if one.validation]
        # The loss on validation images may overflow, while that on training images is finite
        if finite := [point for point in measured if math.isfinite(point[1])]:
            curves["validation images"] = finite
        return f"{curves_svg(curves, self[-1].epochs)}<p>{html.escape(str(self[-1]))}</p>"
