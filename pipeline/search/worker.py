"""One of a study's workers: take a step, train it, tell; then train the finalists.

Any number of them share a study, on one machine or on several that share the disk. A step whose
worker was killed is taken up by another one, or by the same command run again.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pipeline.artifacts.files import read_json
from pipeline.config.times import few
from pipeline.errors import Busy, Diverged, PodiumError, TooLarge
from pipeline.search.policy import build
from pipeline.search.records import Trial
from pipeline.search.schedules import AFFORDABLE, spent_on
from pipeline.search.seen import Policy, Seen, Step
from pipeline.search.setting import Setting, TrialRun
from pipeline.search.store import Store
from pipeline.search.trial import Unusable, check_config, epochs_done, opened, train_step
from pipeline.training.assemble import assemble
from pipeline.training.fold import is_finished, train_fold
from pipeline.training.work import told

Say = Callable[[str], None]
PAUSE = 1.0  # seconds between two looks whether others are done
ATTEMPTS = 3  # that a step may cost its process, without an epoch gained, before it is given up
FAILURES = 10  # trials in a row, after which the space is taken to be wrong


class Nothing(Enum):
    """Why there is no step to take: look again, look again later, or it is over."""

    NOW = "now"
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

    @property
    def is_late(self) -> bool:
        """Whether the time is over in which new steps may be begun."""
        return self.until is not None and time.time() > self.until

    def search(self) -> None:
        """Take and train steps until the budget is spent."""
        waiting = False
        while (claim := self._take()) is not Nothing.LEFT:
            if claim is Nothing.YET:
                if not waiting:
                    self.say(f"{self.setting.name}: waiting for trials in work elsewhere")
                waiting = True
                time.sleep(PAUSE)
            elif isinstance(claim, Claim):
                waiting = False
                with claim.held:
                    self._train(claim.trial)

    def _take(self) -> Claim | Nothing:
        """Take a step under the study's lock: one whose worker is gone, else a new one."""
        with self.store.lock():
            trials = self.store.trials()
            if self._must_finish(trials):
                return Nothing.LEFT
            self._check_failures(trials)
            for trial in trials:
                if trial.in_work and (held := self._claimed(trial.number)):
                    if self._attempt(trial) <= ATTEMPTS:
                        return Claim(trial, held)
                    with held:
                        self._give_up(trial)
                    return Nothing.NOW
            step = self._step(trials)
            if step is None:
                return Nothing.YET if any(t.in_work for t in trials) else Nothing.LEFT
            number = self.store.order(step)
            if step.trial is None and (fault := self._fault(step)):
                self._fail(number, fault)
                return Nothing.NOW
            held = self._claimed(number)
            if held is None:  # somebody is still at a trial of that name
                return Nothing.YET
            trial = self.store.trials()[number]
            self._attempt(trial)
            return Claim(trial, held)

    def _must_finish(self, trials: list[Trial]) -> bool:
        """Whether the time that is left is what the finalists' other folds take: a search that ends
        without a run on all folds has nothing to blend or compare."""
        if self.until is None:
            return False
        top, judged = self.setting.ladder.top, self.setting.judged_on
        others = len(self.setting.folds.numbers) - len(judged)
        finishing = sum(t.seconds[top] / len(judged) * others for t in self._best(trials))
        return time.time() + finishing > self.until

    def _claimed(self, number: int) -> contextlib.ExitStack | None:
        """Return a trial's lock, held; None if somebody else works on it."""
        held = contextlib.ExitStack()
        try:
            held.enter_context(self.store.claim(number))
        except Busy:
            return None
        return held

    def _attempt(self, trial: Trial) -> int:
        folder = self.setting.folder.parent / trial.run
        return self.store.attempt(trial.number, epochs_done(folder))

    def _give_up(self, trial: Trial) -> None:
        crash = self.store.crash(trial.number)
        how = f"it crashed {ATTEMPTS} times ({crash})"
        self._fail(trial.number, how if crash else f"its process was killed {ATTEMPTS} times")

    def _fail(self, number: int, error: str) -> None:
        self.store.fail(number, error)
        self.say(f"{self.setting.run_name(number)}: failed: {error}")

    def _check_failures(self, trials: list[Trial]) -> None:
        """Stop where trial after trial fails: then the space is wrong, or the machine."""
        last = trials[-FAILURES:]
        if len(last) == FAILURES and all(trial.failed for trial in last):
            raise PodiumError(
                f"{self.setting.source}: the last {FAILURES} trials failed, trial "
                f"{last[-1].number}: {last[-1].error}; mend the space, and FRESH=1 starts anew"
            )

    def _step(self, trials: list[Trial]) -> Step | None:
        study, ladder = self.setting.study, self.setting.ladder
        left = study.budget - sum(spent_on(trial, ladder) for trial in trials)
        if not trials and study.default and self.setting.default is not None:
            step = Step(None, self.setting.default, ladder.top)
            if ladder.price(None, ladder.top) <= left + AFFORDABLE:
                return step
        new = study.trials is None or len(trials) < study.trials
        return self._policy.next(trials, left, new)

    def _fault(self, step: Step) -> str:
        """Return why a new configuration cannot be trained, or ''."""
        try:
            check_config(self.setting, step.config, step.level)
        except Unusable as error:
            return str(error)
        return ""

    @property
    def _policy(self) -> Policy:
        study = self.setting.study
        named = {"sampler": study.sampler, "schedule": study.schedule, "eta": study.eta}
        return build(self.setting.space, self.setting.ladder, **named, seed=study.seed)

    def _train(self, trial: Seen) -> None:
        """Train a step that is held, and write down what it came to."""
        try:
            outcomes = train_step(self.setting, trial)
        except Unusable as error:
            with self.store.lock():
                self._fail(trial.number, str(error))
            return
        except (KeyboardInterrupt, SystemExit, PodiumError, OSError):  # no fault of the trial's
            with self.store.lock():
                self.store.excuse(trial.number)
            raise
        except Exception as error:
            with self.store.lock():
                self.store.note(trial.number, f"{type(error).__name__}: {error}"[:300])
            raise
        with self.store.lock():
            self.store.tell(trial.number, outcomes)
            best = self.store.found().best
        level, last = self.setting.ladder.levels[trial.ordered], outcomes[-1]
        name, shown = self.setting.run_name(trial.number), -self.setting.sign * last.loss
        said = f"{name}: {level.name} {shown:.4f} in {few(last.seconds)} s"
        self.say(said + ", the best so far" * (best is not None and best.number == trial.number))

    def finish(self) -> list[str]:
        """Train the finalists on all folds, sharing them with other workers; return their names."""
        finalists = self.finalists()
        left = [opened(self.setting, trial) for trial in finalists]
        while left := [run for run in left if not self._finish(run)]:
            if self.is_late:
                break
            time.sleep(PAUSE)
        return [trial.run for trial in finalists]

    def finalists(self) -> list[Trial]:
        """Return the best of the trials that were trained to the end."""
        return self._best(self.store.trials())

    def _best(self, trials: list[Trial]) -> list[Trial]:
        top = self.setting.ladder.top
        there = [t for t in trials if top in t.losses and not t.failed]
        there.sort(key=lambda trial: (trial.losses[top], trial.number))
        return there[: self.setting.study.finalists]

    def _finish(self, run: TrialRun) -> bool:
        """Train the folds of a finalist that nobody works on; return whether all are finished, or
        one cannot be."""
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
            except (Diverged, TooLarge) as error:  # a run of fewer folds is no member; others are
                self.say(f"warning: {run.name}: fold {fold}: {error}")
                return True
        finished = run.finished_folds()
        if set(map(str, finished)) != set(read_json(run.record_path)["folds"]):
            assemble(run)
        return finished == run.numbers
