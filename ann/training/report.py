"""What is known after an epoch of training: for callbacks, for the screen, and as a line of a log. The numbers are
plain, so they can be written down and read back exactly.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ann.neural_network import Evaluation


@dataclass(frozen=True)
class EpochReport:
    """What is known after an epoch.

    Attributes:
        epoch: counted from 1.
        epochs: how many there will be.
        loss: the mean training loss over the epoch, while the parameters were changing.
        learning_rate: of the epoch's last step.
        seconds: the epoch took, without the validation.
        images_per_second: of training.
        validation: what the held-out images gave, None where there are none.
    """

    epoch: int
    epochs: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float
    validation: Evaluation | None = None

    def result(self) -> str:
        """The losses and mistakes in words."""
        text = f"loss {self.loss:.4f}"
        if self.validation:
            loss, errors, count = self.validation.loss, self.validation.errors, self.validation.count
            text += f"  held out: loss {loss:.4f}, {errors} wrong ({100 * errors / count:.2f} %)"
        return text

    def to_json(self) -> str:
        """One line that ``from_fields``, given its fields, makes the same report of."""
        return json.dumps(asdict(self))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> EpochReport:
        """A report of the fields that its JSON holds. Raises TypeError where they are others."""
        validation = fields.get("validation")
        return cls(**{**fields, "validation": Evaluation(**validation) if validation else None})

    def __str__(self) -> str:
        return f"epoch {self.epoch:{len(str(self.epochs))}}/{self.epochs}  {self.result()}"
