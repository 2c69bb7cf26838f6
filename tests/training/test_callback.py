"""Callbacks, which take part in a training."""

import pytest

import ann
from support.networks import network_of

TRAIN_IMAGES = 120  # of ``dataset``

RECIPE = ann.Recipe(hidden=(8,), batch_size=50, epochs=2, validation=20)


class Diary(ann.Callback):
    """Records its calls. ``stop``: the step after which it stops the training."""

    def __init__(self, stop=None):
        self.notes, self.stop, self.steps = [], stop, 0

    def at_start(self):
        self.notes.append("start")

    def before_epoch(self):
        self.notes.append("before")

    def after_step(self, images):
        self.notes.append(images)
        self.steps += 1
        return self.steps == self.stop

    def after_epoch(self, report):
        self.notes.append(report)

    def at_end(self):
        self.notes.append("end")


def train(dataset, *callbacks, **options):
    net = network_of(ann.get_backend("cpu"), 64, 8, 10)
    return net, ann.fit(net, dataset, RECIPE, callbacks, **options)


def test_the_order_of_calls(dataset):
    diary = Diary()
    _, reports = train(dataset, diary)
    epochs = [["before", 50, 50, report] for report in reports]
    assert diary.notes == ["start", *epochs[0], *epochs[1], "end"]


def test_one_callback_stops_training_for_all(dataset, tmp_path):
    first, other = Diary(stop=3), Diary()
    checkpoints = ann.Checkpoints(tmp_path / "run.npz")
    net, reports = train(dataset, first, other, checkpoints=checkpoints)
    assert len(reports) == 1 and net.recipe is None
    assert (
        first.notes == other.notes == ["start", "before", 50, 50, reports[0], "before", 50, "end"]
    )
    resumed = Diary()
    net, reports = train(dataset, resumed, checkpoints=checkpoints)
    assert resumed.notes == ["start", "before", 50, reports[1], "end"]
    assert net.to_bytes() == train(dataset)[0].to_bytes()


def test_functions_and_objects_together(dataset):
    seen = []
    _, reports = train(dataset, seen.append, ann.Callback(), on_batch=seen.append)
    assert seen == [50, 50, reports[0], 50, 50, reports[1]]


def test_an_error_in_a_callback_reaches_the_caller(dataset):
    class Faulty(ann.Callback):
        def after_epoch(self, report):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        train(dataset, Faulty())


def test_an_error_at_the_end_loses_no_checkpoint(dataset, tmp_path):
    class Faulty(ann.Callback):
        def at_end(self):
            raise LookupError("mine")

    checkpoints = ann.Checkpoints(tmp_path / "run.npz")
    with pytest.raises(LookupError, match="mine"):
        train(dataset, Faulty(), checkpoints=checkpoints)
    resumed = Diary()
    net, _ = train(dataset, resumed, checkpoints=checkpoints)
    assert resumed.notes == ["start", "end"]
    assert net.to_bytes() == train(dataset)[0].to_bytes()
