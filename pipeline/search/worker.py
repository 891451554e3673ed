"""One of a study's workers: take a step, train it, tell; then train the finalists.

Any number of them share a study, on one machine or on several that share the disk. A step whose
worker was killed is taken up by another one, or by the same command run again.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pipeline.errors import Busy, Diverged
from pipeline.search.policy import build
from pipeline.search.records import Trial
from pipeline.search.schedules import AFFORDABLE, spent_on
from pipeline.search.seen import Policy, Seen, Step
from pipeline.search.setting import Setting
from pipeline.search.store import Store
from pipeline.search.trial import Unusable, opened, train_step
from pipeline.training.assemble import assemble
from pipeline.training.fold import is_finished, train_fold
from pipeline.training.work import told

Say = Callable[[str], None]
PAUSE = 1.0  # seconds between two looks whether others are done
ATTEMPTS = 3  # that a step may cost its process before the trial is given up


class Nothing(Enum):
    """Why there is no step to take: not yet, or no more."""

    YET = "yet"
    LEFT = "left"


@dataclass(frozen=True)
class Claim:
    """A step that this worker holds the lock of."""

    trial: Seen
    held: contextlib.ExitStack


@dataclass(frozen=True)
class Worker:
    """A worker of a study; `until` is the time (seconds since the epoch) after which it takes no
    new step, if there is one."""

    setting: Setting
    store: Store
    say: Say
    until: float | None = None

    def search(self) -> None:
        """Take and train steps until the budget is spent."""
        waiting = False
        while (claim := self._take()) is not Nothing.LEFT:
            if claim is Nothing.YET:
                if not waiting:
                    self.say(f"{self.setting.name}: waiting for trials in work elsewhere")
                waiting = True
                time.sleep(PAUSE)
                continue
            waiting = False
            with claim.held:
                self._train(claim.trial)

    def _take(self) -> Claim | Nothing:
        """Take a step under the study's lock: one whose worker is gone, else a new one."""
        if self.is_late:
            return Nothing.LEFT
        with self.store.lock():
            trials = self.store.trials()
            for trial in trials:
                if trial.in_work and (held := self._claimed(trial.number)):
                    if self.store.attempt(trial.number) > ATTEMPTS:
                        with held:
                            self._give_up(trial)
                        return Nothing.YET
                    return Claim(trial, held)
            step = self._step(trials)
            if step is None:
                return Nothing.YET if any(t.in_work for t in trials) else Nothing.LEFT
            number = self.store.order(step)
            held = self._claimed(number)
            self.store.attempt(number)
            return Claim(self.store.trials()[number], held)

    def _give_up(self, trial: Trial) -> None:
        how = f"its process was killed {ATTEMPTS} times"
        self.store.fail(trial.number, how)
        self.say(f"{trial.run}: given up: {how}")

    def _claimed(self, number: int) -> contextlib.ExitStack | None:
        """Return a trial's lock, held; None if somebody else works on it."""
        held = contextlib.ExitStack()
        try:
            held.enter_context(self.store.claim(number))
        except Busy:
            return None
        return held

    @property
    def is_late(self) -> bool:
        """Whether the time is over in which new steps may be begun."""
        return self.until is not None and time.time() > self.until

    def _step(self, trials: list[Trial]) -> Step | None:
        study, ladder = self.setting.study, self.setting.ladder
        left = study.budget - sum(spent_on(trial, ladder) for trial in trials)
        if not trials and study.default and self.setting.default is not None:
            step = Step(None, self.setting.default, ladder.top)
            return step if ladder.price(None, ladder.top) <= left + AFFORDABLE else None
        step = self._policy.next(trials, left)
        full = study.trials is not None and len(trials) >= study.trials
        return None if full and step is not None and step.trial is None else step

    @property
    def _policy(self) -> Policy:
        study = self.setting.study
        named = {"sampler": study.sampler, "schedule": study.schedule, "eta": study.eta}
        return build(self.setting.space, self.setting.ladder, **named, seed=study.seed)

    def _train(self, trial: Seen) -> None:
        """Train a step that is held, and write down what it came to."""
        setting, level = self.setting, self.setting.ladder.levels[trial.ordered]
        name = setting.run_name(trial.number)
        try:
            outcomes = train_step(setting, trial)
        except Unusable as error:
            with self.store.lock():
                self.store.fail(trial.number, str(error))
            self.say(f"{name}: failed: {error}")
            return
        with self.store.lock():
            self.store.tell(trial.number, outcomes)
            best = self.store.found().best
        last = outcomes[-1]
        shown = -setting.sign * last.loss
        said = f"{name}: {level.name} {shown:.4f} in {last.seconds:.0f} s"
        if best is not None and best.number == trial.number:
            said += ", the best so far"
        self.say(said)

    def finish(self) -> list[str]:
        """Train the finalists on all folds, sharing them with other workers; return their names."""
        finalists = self.finalists()
        names = [trial.run for trial in finalists]
        while left := [t for t in finalists if not self._finish(t)]:
            if self.is_late:
                break
            finalists = left
            time.sleep(PAUSE)
        return names

    def finalists(self) -> list[Trial]:
        """Return the best of the trials that were trained to the end."""
        top = self.setting.ladder.top
        there = [t for t in self.store.trials() if top in t.losses and not t.failed]
        there.sort(key=lambda trial: (trial.losses[top], trial.number))
        return there[: self.setting.study.finalists]

    def _finish(self, trial: Trial) -> bool:
        """Train the folds of a finalist that nobody works on; return whether all are finished."""
        run = opened(self.setting, trial)
        for fold in run.numbers:
            folder = run.fold_folder(fold)
            if is_finished(folder) or self.is_late:
                continue
            try:
                with run.lock_job(folder.name):
                    if not is_finished(folder):
                        record = train_fold(run.jobs([fold])[0][0])
                        self.say(f"{run.name}: {told(f'fold {fold}', record, refit=False)}")
            except Busy:
                continue
            except Diverged as error:  # a run of fewer folds is no member; the others are
                self.say(f"warning: {run.name}: fold {fold}: {error}")
                return True
        return assemble(run).complete
