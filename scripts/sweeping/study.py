"""A study of Optuna, in which many workers may take part: its rules and its trials."""

import argparse
import dataclasses
import hashlib
import time
from typing import Any

import optuna
from optuna.trial import TrialState

import ann
from sweeping.space import Space

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_WARM_UP = 3  # tenths of a trial before pruning: wide networks and some schedules start slowly
_WAITS = 10  # seconds for the worker that created a study to write its rules


def rules_of(flags: argparse.Namespace, space: Space, dataset: ann.Dataset) -> dict[str, str]:
    """What all workers of a study must have in common."""
    arrays = dataset.train_images, dataset.train_labels
    data = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    limits = ("time_per_trial", "max_epochs", "validation", "seed")
    rules = {f"--{name.replace('_', '-')}": str(getattr(flags, name)) for name in limits}
    return {**space.describe(), **rules, "training data": data[:12], "ann": ann.__version__}


def without_test_images(dataset: ann.Dataset) -> ann.Dataset:
    """The training images alone, so that a sweep cannot look at the others."""
    images, labels = dataset.test_images[:0].copy(), dataset.test_labels[:0].copy()
    return dataclasses.replace(dataset, test_images=images, test_labels=labels)


def join(storage: Any, name: str, rules: dict[str, str]) -> Any:
    """The study of this name, created if there is none.

    Raises:
        ValueError: it was created with other rules.
    """
    options: dict[str, Any] = {
        "storage": storage,
        "study_name": name,
        "sampler": optuna.samplers.TPESampler(multivariate=True, group=True),
        "pruner": optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_WARM_UP),
    }
    try:
        study = optuna.create_study(direction="minimize", **options)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(**options)
    else:
        study.set_user_attr("rules", rules)  # by the one worker that created the study
    existing = _rules(study, name, rules)
    differ = [rule for rule in sorted({*existing, *rules}) if existing.get(rule) != rules.get(rule)]
    if differ:
        theirs, ours = _listed(existing, differ), _listed(rules, differ)
        fix = "use the same, or another --study"
        raise ValueError(f"--study {name}: it was started with {theirs}, and this is {ours}; {fix}")
    return study


def _listed(rules: dict[str, str], names: list[str]) -> str:
    return ", ".join(f"{name} {rules.get(name)}" for name in names)


def _rules(study: Any, name: str, own: dict[str, str]) -> dict[str, str]:
    """The rules of a study. If the worker that created it died before it wrote them, ours count."""
    for wait in range(_WAITS + 1):
        trials = study.get_trials(deepcopy=False)  # before the rules, since those are written first
        rules = study.user_attrs.get("rules")
        if isinstance(rules, dict):
            return rules
        minimize = [optuna.study.StudyDirection.MINIMIZE]
        if rules or trials or study.directions != minimize:
            problem = "this study was made by another program; give another name"
            raise ValueError(f"--study {name}: {problem}")
        if wait == 0:
            print(f"study {name} was created a moment ago: waiting for its worker's rules")
        if wait < _WAITS:
            time.sleep(1)
    study.set_user_attr("rules", own)
    time.sleep(1)  # others may have done the same; the last one's are the ones that all find
    return dict(study.user_attrs["rules"])


def finished(study: Any) -> list[Any]:
    """The trials that were trained to the end or pruned."""
    return list(study.get_trials(deepcopy=False, states=FINISHED))


def best_trials(study: Any, count: int = 10) -> list[Any]:
    """The trained trials with the fewest mistakes, and among equals the smallest networks."""
    trained = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in trained:
        needed = {"recipe", "parameters", "seconds"}
        if trial.value is None or not needed <= trial.user_attrs.keys():
            problem = "was made by another program; give another name"
            raise ValueError(f"--study: trial {trial.number} {problem}")
    return sorted(trained, key=lambda trial: (trial.value, trial.user_attrs["parameters"]))[:count]
