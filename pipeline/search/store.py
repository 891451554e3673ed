"""What a study remembers: its trials in Optuna's storage, a journal on disk or a database.

A trial of Optuna is a trial here: its parameters, an intermediate value per level, and COMPLETE at
the last one; attributes say which level was ordered. Who reads to decide, and whoever writes, holds
the study's lock, so that workers never decide on the same thing; which trial somebody works on is
told by its own lock, which the kernel lets go of when its process dies.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.files import read_json, read_object, write_json
from pipeline.artifacts.locks import lock
from pipeline.config.schema import differing
from pipeline.errors import PodiumError
from pipeline.search.records import Found, Trial
from pipeline.search.samplers import distribution, encoded
from pipeline.search.seen import Step
from pipeline.search.setting import Setting
from pipeline.search.storage import mend, open_storage

if TYPE_CHECKING:
    import optuna

WAIT = 600.0  # seconds for the study's lock, under which a Gaussian process may be fitted
# What may change of a study between two commands: how long it goes on, and words.
FREE = ("describe", "budget", "trials", "finalists", "storage")
REMEDY = "choose another STUDY= name, or FRESH=1 to delete its trials and start anew"


@dataclass(frozen=True)
class Outcome:
    """What a step came to, by level: the score, the loss that is minimised, seconds."""

    level: int
    score: float | None
    loss: float
    seconds: float


class Store:
    """The trials of a study."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @property
    def record_path(self) -> Path:
        return self.setting.folder / "study.json"

    @property
    def journal(self) -> Path:
        return self.setting.folder / "journal.log"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study's lock, waiting for it."""
        path = self.setting.folder.parent / ".locks" / f"study-{self.setting.name}.lock"
        with lock(path, f"study {self.setting.name}", wait=WAIT):
            mend(self.journal)
            yield

    def claim(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Hold a trial's lock, as whoever trains it does; Busy if somebody else does."""
        name = self.setting.run_name(number)
        return lock(self._trial_lock(name), f"trial {name}")

    def _trial_lock(self, run: str) -> Path:
        return self.setting.folder.parent / ".locks" / f"{run}.trial.lock"

    def open(self) -> None:
        """Make the study's folder and record, or check that the one there is of the same study."""
        with self.lock():
            identity = self._identity()
            if self.record_path.exists():
                self._check_same(identity)
            elif self.setting.folder.exists() and any(self.setting.folder.iterdir()):
                shown = self.setting.project.shown(self.setting.folder)
                raise PodiumError(f"{shown}: not a study (it has no study.json); {REMEDY}")
            write_json(self.record_path, identity)
            _ = self._optuna

    def check_there(self) -> None:
        """Refuse a folder that is not of this study, writing nothing."""
        if self.record_path.exists():
            self._check_same(self._identity())

    def _identity(self) -> dict[str, Any]:
        setting = self.setting
        said = setting.study.model_dump(mode="json")
        free = {key: said.pop(key) for key in FREE}
        return {
            "competition": setting.data.competition.name,
            "study": said,
            "levels": [level.__dict__ for level in setting.ladder.levels],
            "metric": setting.data.metric.identity,
            "recipe_hash": setting.base.hash,
            "folds_hash": setting.folds.hash,
            "data_hash": setting.data.hash,
            "goes_on": free,
        }

    def _check_same(self, new: dict[str, Any]) -> None:
        """Refuse to go on with trials of another study, saying how it differs."""
        old = read_object(self.record_path, new.keys(), REMEDY)
        shown = self.setting.project.shown(self.setting.folder)
        goes_on = old["goes_on"] if isinstance(old["goes_on"], dict) else {}
        if goes_on.get("storage") != new["goes_on"]["storage"]:
            raise PodiumError(
                f"{shown}: its trials are in storage {goes_on.get('storage')!r}, not "
                f"{new['goes_on']['storage']!r}; set it back, or {REMEDY}"
            )
        for key in (key for key in new if key != "goes_on"):
            if old[key] != new[key]:
                both = isinstance(old[key], dict) and isinstance(new[key], dict)
                how = "; ".join(differing(old[key], new[key])) if both else "its hash"
                what = {"study": self.setting.source, "recipe_hash": "the recipe"}.get(key, key)
                raise PodiumError(f"{shown}: made with another {what} ({how}); {REMEDY}")

    @cached_property
    def _optuna(self) -> "optuna.Study":
        import optuna

        setting = self.setting
        return optuna.create_study(
            storage=open_storage(setting.study.storage, self.journal, setting.source),
            study_name=f"{setting.data.competition.name}/{setting.name}",
            direction="maximize" if setting.sign > 0 else "minimize",
            load_if_exists=True,
        )

    def delete(self) -> None:
        """Delete the study and its trials' runs, as long as nobody works on any of them."""
        setting = self.setting
        with self.lock(), contextlib.ExitStack() as held:
            runs = self._runs()
            for run in runs:
                held.enter_context(lock(self._trial_lock(run.name), f"trial {run.name}"))
            for run in runs:
                shutil.rmtree(run)
            if self.journal.exists() or setting.study.storage != "journal":
                import optuna

                name, storage = self._optuna.study_name, self._optuna._storage
                optuna.delete_study(study_name=name, storage=storage)
                del self.__dict__["_optuna"]
            shutil.rmtree(setting.folder, ignore_errors=True)

    def _runs(self) -> list[Path]:
        """Return the folders of this study's trials, whatever its storage still knows of them."""
        found = []
        for record in self.setting.folder.parent.glob(f"{self.setting.name}-*/run.json"):
            said = read_json(record)
            if isinstance(said, dict) and said.get("study") == self.setting.name:
                found.append(record.parent)
        return sorted(found)

    def found(self) -> Found:
        """Return the study and its trials so far, by number."""
        own = self.setting
        place = own.name, own.study, own.space, own.ladder, own.metric_name, own.sign
        return Found(*place, tuple(self.trials()))

    def trials(self) -> list[Trial]:
        """Return the trials so far, by number."""
        return [self._trial(found) for found in self._optuna.get_trials(deepcopy=False)]

    def _trial(self, found: "optuna.trial.FrozenTrial") -> Trial:
        said, sign = found.user_attrs, self.setting.sign
        levels = {level: said[f"level {level}"] for level in found.intermediate_values}
        return Trial(
            number=found.number,
            config=json.loads(said["config"]),
            losses={level: -sign * value for level, value in found.intermediate_values.items()},
            ordered=int(said["ordered"]),
            failed=bool(said.get("error")),
            run=self.setting.run_name(found.number),
            scores={level: one["score"] for level, one in levels.items()},
            seconds={level: one["seconds"] for level, one in levels.items()},
            ended={level: datetime.fromisoformat(one["ended"]) for level, one in levels.items()},
            error=said.get("error", ""),
        )

    def order(self, step: Step) -> int:
        """Write down what is trained next; return the trial's number."""
        from optuna.trial import TrialState, create_trial

        if step.trial is not None:
            self._say(step.trial, "ordered", step.level)
            self._say(step.trial, "attempts", 0)
            return step.trial
        by_key = {param.key: param for param in self.setting.space.params}
        config = {key: encoded(by_key[key], value) for key, value in step.config.items()}
        number = len(self._optuna.get_trials(deepcopy=False))
        said = {"config": json.dumps(step.config), "ordered": step.level, "attempts": 0}
        template = create_trial(
            state=TrialState.RUNNING,
            params=config,
            distributions={key: distribution(by_key[key]) for key in config},
            user_attrs={**said, "run": self.setting.run_name(number)},
        )
        self._optuna.add_trial(template)
        return number

    def attempt(self, number: int) -> int:
        """Count that a trial's step is begun, or begun again; return how often it was."""
        count = int(self._frozen(number).user_attrs["attempts"]) + 1
        self._say(number, "attempts", count)
        return count

    def tell(self, number: int, outcomes: list[Outcome]) -> None:
        """Write down what a step came to; at the last level the trial is complete."""
        from optuna.trial import TrialState

        storage, trial = self._optuna._storage, self._frozen(number)
        for one in outcomes:
            if one.level in trial.intermediate_values:
                continue
            said = {"score": one.score, "seconds": round(one.seconds, 3)}
            said["ended"] = datetime.now(UTC).isoformat()
            self._say(number, f"level {one.level}", said)
            value = -self.setting.sign * one.loss
            storage.set_trial_intermediate_value(trial._trial_id, one.level, value)
        top = [one for one in outcomes if one.level == self.setting.ladder.top]
        if top:
            value = -self.setting.sign * top[0].loss
            storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [value])

    def fail(self, number: int, error: str) -> None:
        """Write down why a trial cannot be trained."""
        from optuna.trial import TrialState

        self._say(number, "error", error)
        trial = self._frozen(number)
        self._optuna._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _frozen(self, number: int) -> "optuna.trial.FrozenTrial":
        return self._optuna.get_trials(deepcopy=False)[number]

    def _say(self, number: int, key: str, value: Any) -> None:
        trial = self._frozen(number)
        if not trial.state.is_finished():
            self._optuna._storage.set_trial_user_attr(trial._trial_id, key, value)
