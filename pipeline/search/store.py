"""What a study remembers: its trials in Optuna's storage, a journal on disk or a database.

A trial of Optuna is a trial here: its parameters, an intermediate value per level, and COMPLETE at
the last one; attributes say which level was ordered. Who reads to decide, and whoever writes, holds
the study's lock, so that workers never decide on the same thing; which trial somebody works on is
told by its own lock, which the kernel lets go of when its process dies.
"""

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.locks import lock
from pipeline.errors import PodiumError
from pipeline.search.identity import RECORD, REMEDY, check_same, identity, study_id
from pipeline.search.records import Found, Trial
from pipeline.search.samplers import distribution, encoded
from pipeline.search.seen import Outcome, Step
from pipeline.search.setting import Setting
from pipeline.search.storage import mend, open_storage

if TYPE_CHECKING:
    import optuna

WAIT = 600.0  # seconds for the study's lock, under which a Gaussian process may be fitted


class Store:
    """The trials of a study."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._id = ""  # of the study that was opened

    @property
    def record_path(self) -> Path:
        return self.setting.folder / RECORD

    @property
    def journal(self) -> Path:
        return self.setting.folder / "journal.log"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study's lock, waiting for it; refuse a study that was begun anew meanwhile."""
        with self._lock():
            if self._id and study_id(self.setting) != self._id:
                shown = self.setting.project.shown(self.setting.folder)
                raise PodiumError(f"{shown}: begun anew meanwhile; run the same command again")
            mend(self.journal)
            yield

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        path = self._lock_path(f"study-{self.setting.name}")
        return lock(path, f"study {self.setting.name}", wait=WAIT)

    def _lock_path(self, name: str) -> Path:
        return self.setting.folder.parent / ".locks" / f"{name}.lock"

    def claim(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Hold a trial's lock, as whoever trains it does; Busy if somebody else does."""
        return self._claim_run(self.setting.run_name(number))

    def _claim_run(self, run: str) -> contextlib.AbstractContextManager[None]:
        return lock(self._lock_path(f"{run}.trial"), f"trial {run}")

    def open(self) -> None:
        """Make the study's folder and record, or check that the one there is of the same study."""
        setting = self.setting
        with self._lock():
            mend(self.journal)
            if self.record_path.exists():
                check_same(setting)
            elif setting.folder.exists() and any(setting.folder.iterdir()):
                shown = setting.project.shown(setting.folder)
                raise PodiumError(f"{shown}: not a study (it has no {RECORD}); {REMEDY}")
            own = study_id(setting) or uuid.uuid4().hex[:12]
            write_json(self.record_path, identity(setting) | {"id": own})
            self._id = own
            self._create()
            self._complete()

    def check_there(self) -> None:
        """Refuse a folder that is not of this study, writing nothing."""
        if self.record_path.exists():
            check_same(self.setting)

    @property
    def _name(self) -> str:
        """Optuna's name of the study: its id tells it from those of other projects that share a
        database, and from what was there before FRESH=1."""
        own = self._id or study_id(self.setting)
        return f"{self.setting.data.competition.name}/{self.setting.name}/{own}"

    def _storage(self) -> Any:
        setting = self.setting
        return open_storage(setting.study.storage, self.journal, setting.source)

    def _create(self) -> None:
        import optuna

        direction = "maximize" if self.setting.sign > 0 else "minimize"
        storage = self._storage()
        if self._name not in optuna.get_all_study_names(storage):
            optuna.create_study(storage=storage, study_name=self._name, direction=direction)

    def _complete(self) -> None:
        """Complete the trials whose worker was killed between their last value and that."""
        top = self.setting.ladder.top
        for trial in self._optuna.get_trials(deepcopy=False):
            if top in trial.intermediate_values and not trial.state.is_finished():
                self._close(trial, trial.intermediate_values[top])

    @cached_property
    def _optuna(self) -> "optuna.Study":
        import optuna

        try:
            return optuna.load_study(study_name=self._name, storage=self._storage())
        except KeyError:
            shown = self.setting.project.shown(self.setting.folder)
            raise PodiumError(
                f"{shown}: its trials are not in storage {self.setting.study.storage} any more; "
                f"{REMEDY}"
            ) from None

    def delete(self) -> None:
        """Delete the study and its trials' runs, as long as nobody works on any of them."""
        import optuna

        setting = self.setting
        with self._lock(), contextlib.ExitStack() as held:
            mend(self.journal)
            known = []
            if self.record_path.exists():
                with contextlib.suppress(PodiumError):  # what is lost needs no deleting
                    known = self.trials()
            runs = self._runs()
            for name in sorted({trial.run for trial in known} | {run.name for run in runs}):
                held.enter_context(self._claim_run(name))
            for run in runs:  # a finalist is in work under the locks of its folds alone
                for fold in [*run.glob("fold-*"), *run.glob("share-*/fold-*")]:
                    job = ".".join(fold.relative_to(run).parts)
                    held.enter_context(lock(self._lock_path(f"{run.name}.{job}"), f"{run.name}"))
            for run in runs:
                shutil.rmtree(run)
            if "_optuna" in self.__dict__:
                optuna.delete_study(study_name=self._name, storage=self._optuna._storage)
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
            begun=int(said["begun"]),
        )

    def order(self, step: Step) -> int:
        """Write down what is trained next; return the trial's number."""
        from optuna.trial import TrialState, create_trial

        if step.trial is not None:
            self._say(step.trial, "attempts", [0, 0])
            self._say(step.trial, "ordered", step.level)
            return step.trial
        by_key = {param.key: param for param in self.setting.space.params}
        config = {key: encoded(by_key[key], value) for key, value in step.config.items()}
        number = len(self._optuna.get_trials(deepcopy=False))
        said = {"config": json.dumps(step.config), "ordered": step.level, "begun": step.level}
        template = create_trial(
            state=TrialState.RUNNING,
            params=config,
            distributions={key: distribution(by_key[key]) for key in config},
            user_attrs={**said, "attempts": [0, 0], "run": self.setting.run_name(number)},
        )
        self._optuna.add_trial(template)
        return number

    def attempt(self, number: int, epochs: int) -> int:
        """Count that a trial's step is begun, or begun again; return how often it was since it last
        came further than `epochs`, those that are trained."""
        count, before = self._frozen(number).user_attrs["attempts"]
        count = 1 if epochs > before else count + 1
        self._say(number, "attempts", [count, epochs])
        return count

    def excuse(self, number: int) -> None:
        """Take back an attempt that ended for a reason that is not the trial's."""
        count, epochs = self._frozen(number).user_attrs["attempts"]
        self._say(number, "attempts", [max(0, count - 1), epochs])

    def note(self, number: int, crash: str) -> None:
        """Write down how a trial's step crashed; if it does so again and again, that is why."""
        self._say(number, "crash", crash)

    def crash(self, number: int) -> str:
        return self._frozen(number).user_attrs.get("crash", "")

    def tell(self, number: int, outcomes: list[Outcome]) -> None:
        """Write down what a step came to; at the last level the trial is complete."""
        storage, trial = self._optuna._storage, self._frozen(number)
        if trial.state.is_finished():
            return
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
            self._close(trial, -self.setting.sign * top[0].loss)

    def _close(self, trial: "optuna.trial.FrozenTrial", value: float) -> None:
        from optuna.trial import TrialState

        self._optuna._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [value])

    def fail(self, number: int, error: str) -> None:
        """Write down why a trial cannot be trained."""
        from optuna.trial import TrialState

        self._say(number, "error", error)
        trial = self._frozen(number)
        if not trial.state.is_finished():
            self._optuna._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _frozen(self, number: int) -> "optuna.trial.FrozenTrial":
        return self._optuna.get_trials(deepcopy=False)[number]

    def _say(self, number: int, key: str, value: Any) -> None:
        trial = self._frozen(number)
        if not trial.state.is_finished():
            self._optuna._storage.set_trial_user_attr(trial._trial_id, key, value)
