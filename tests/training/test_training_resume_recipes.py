"""Every kind of recipe goes on after a kill, and with other workers, to the same bytes."""

import pytest

from pipeline.training.learning import loop

OFTEN = "runtime.checkpoint_seconds=0 training.epochs=4"
RECIPES = {
    "swa": "training.ema=0 training.swa=0.5",
    "schedule-free": "training.ema=0 optimizer.name=schedule-free schedule.name=constant",
    "lion": "optimizer.name=lion optimizer.lr=1e-4",
    "rmsprop": "optimizer.name=rmsprop schedule.name=exponential schedule.final=0.1",
    "amsgrad": "optimizer.name=amsgrad schedule.name=one-cycle",
    "plateau": "schedule.name=plateau schedule.patience=1 schedule.warmup=0 optimizer.lr=0.05",
    "restarts": "schedule.name=cosine-restarts schedule.cycles=2",
    "mixed": "mix.mixup=0.4 mix.cutmix=1 mix.until=0.8",
    "balanced": "training.sampling=balanced loss.class_weights=effective",
    "focal": "loss.name=focal loss.logit_adjustment=1",
    "bce": "loss.name=bce training.checkpoint=best",
    "unfrozen": "model.freeze=1 model.unfreeze_after=2 optimizer.name=sgd",
    "head": "model.hidden=[16,8] model.drop_rate=[0.1,0.2,0.3] optimizer.layer_decay=0.7",
    "grey": "image.channels=1 augment.rand_augment=2 augment.erasing=0.5",
    "growing": "augment.first_size=8 image.size=24 augment.saturation=0.3 augment.hue=0.1",
    "parts": "runtime.micro_batch=3 optimizer.clip_norm=0.5",
    "views": "views.flips=dihedral views.crops=5",
}


def arch_of(name: str) -> dict[str, str]:
    """A network with batch norm where its statistics are at stake; lenet takes one size alone."""
    return {"arch": "resnet10t"} if name in ("swa", "schedule-free", "growing") else {}


@pytest.mark.parametrize("name", RECIPES)
def test_killed_and_uninterrupted_are_the_same(name, project, train_tiny, dying, killed, artefacts):
    """Check weights and predictions after a death in the middle of the third epoch."""
    options = {"only": (0,), "overrides": f"{OFTEN} {RECIPES[name]}", **arch_of(name)}
    whole = train_tiny(project, name="whole", **options).run
    with dying(loop, "train_step", 10), pytest.raises(killed):
        train_tiny(project, name="r", **options)
    found = train_tiny(project, name="r", **options)
    folder = whole.fold_folder(0).name
    record = found.record["folds"]["0"]
    assert record["resumed_at_epoch"] == 2
    weights = f"{folder}/model.safetensors"
    again, once = artefacts(found.run.folder), artefacts(whole.folder)
    assert again[weights] == once[weights]


@pytest.mark.parametrize("name", ["mixed", "balanced", "growing", "grey"])
def test_workers_change_nothing(name, project, train_tiny, artefacts):
    """Check that two worker processes give the weights of none."""
    options = {"only": (0,), "overrides": f"training.epochs=2 {RECIPES[name]}", **arch_of(name)}
    none = train_tiny(project, name="none", **options).run
    options["overrides"] += " runtime.workers=2"
    two = train_tiny(project, name="two", **options).run
    weights = "fold-0/model.safetensors"
    assert artefacts(two.folder)[weights] == artefacts(none.folder)[weights]
