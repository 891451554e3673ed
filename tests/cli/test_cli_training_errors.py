"""What `make train` and `make lr-find` refuse: one line, status 2, and nothing left behind."""

import pytest
import yaml

from pipeline.artifacts import files

TRAIN = ("train", "--comp", "tiny", "--arch", "lenet")
FIND = ("lr-find", "--comp", "tiny", "--arch", "lenet")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            (*TRAIN, "--set", "augment.first_size=8"),
            "augment.first_size: lenet for images of 16 px",
        ),
        ((*TRAIN, "--set", "augment.first_size=64"), "augment.first_size"),
        ((*TRAIN, "--set", "views.sizes=[16,24]"), "views.sizes: lenet for images of 16 px cannot"),
        (
            (*TRAIN, "--set", "schedule.name=cyclic schedule.cycles=50"),
            "schedule.cycles: 50 cycles",
        ),
        (
            (
                *TRAIN,
                "--set",
                "schedule.name=cosine-restarts schedule.cycles=1000 schedule.cycle_growth=10",
            ),
            "schedule.cycles: 1000 cycles",
        ),
        ((*TRAIN, "--set", "runtime.device=tpu"), "runtime.device: 'tpu' cannot be used here"),
        ((*TRAIN, "--set", "runtime.threads=100000"), "runtime.threads is 100000"),
        ((*TRAIN, "--set", "runtime.processes=33"), "runtime.processes: 33 for batches of 16"),
        ((*TRAIN, "--set", "image.crop.kind=sides image.crop.top=16"), "leaves nothing"),
        ((*TRAIN, "--set", "model.freeze=backbone model.unfreeze_after=1"), "nothing would be"),
        ((*TRAIN, "--set", "model.freeze=7"), "model.freeze: 7, but the network has"),
        ((*TRAIN, "--seed", "-1"), "SEED: -1: must be different whole numbers from 0"),
        ((*TRAIN, "--seed", "0 0"), "SEED: 0 0: must be different whole numbers from 0"),
        (("train", "--comp", "tiny", "--recipe", "nosuch"), "no experiments/recipes/nosuch.yaml"),
        (
            (*TRAIN, "--set", "loss.name=cross-entropy teacher.run=nobody"),
            "teacher.run: no run nobody",
        ),
        ((*FIND, "--set", "training.epochs=0"), "training.epochs: 0, which has no rate to find"),
        (("lr-find", "--comp", "tiny"), "ARCH: which architecture? Type make lr-find"),
    ],
)
def test_refused_before_anything_is_written(tiny, podium, snapshot, arguments, said):
    """Check the line, the status, and that no run folder is left that would block its NAME."""
    tiny.folds()
    before = snapshot(tiny.root)
    result = podium(tiny.root, *arguments)
    assert result.status == 2 and result.err.count("\n") == 1, result.err
    assert said in result.err
    assert snapshot(tiny.root) == before


def test_an_architecture_is_asked_for_with_its_recipe(tiny, podium):
    """Check that the command which is suggested trains the recipe that was asked for."""
    content = yaml.safe_load(tiny.project.recipe("baseline").read_text())
    tiny.project.recipe("other").write_text(yaml.safe_dump(content))
    for verb in ("train", "lr-find"):
        result = podium(tiny.root, verb, "--comp", "tiny", "--recipe", "other")
        assert result.status == 2 and "RECIPE=other" in result.err


def test_a_recipe_names_its_architecture(tiny, podium):
    """Check that a recipe with model.arch needs no ARCH, and that ARCH goes before it."""
    content = yaml.safe_load(tiny.project.recipe("baseline").read_text())
    content["model"]["arch"] = "lenet"
    tiny.project.recipe("named").write_text(yaml.safe_dump(content))
    tiny.folds()
    result = podium(tiny.root, "train", "--comp", "tiny", "--recipe", "named", "--only", "0")
    assert result.status == 0 and tiny.run("lenet-named").exists()


def test_what_the_competition_replaces_is_said(tiny, podium):
    """Check the line that names what of a recipe the competition's YAML replaces."""
    content = yaml.safe_load(tiny.project.recipe("baseline").read_text())
    tiny.project.recipe("mine").write_text(yaml.safe_dump(content))
    tiny.configure(recipe={"optimizer": {"lr": 0.01}})
    tiny.folds()
    result = podium(tiny.root, *TRAIN, "--recipe", "mine", "--only", "0")
    assert "tiny.yaml goes before RECIPE=mine: optimizer.lr: 0.003 -> 0.01" in result.out
    for other in (("--recipe", "baseline"), ("--recipe", "mine", "--set", "optimizer.lr=0.02")):
        result = podium(tiny.root, *TRAIN, "--only", "0", *other)
        assert result.status == 0 and "goes before" not in result.out


def test_idle_keys_are_warned_about(tiny, podium):
    """Check that keys which do nothing are told before training, and those that do are not."""
    tiny.folds()
    idle = "loss.gamma=3 schedule.cycles=4 image.crop.top=2 mix.mixup=0.2 mix.until=0"
    out = podium(tiny.root, *TRAIN, "--only", "0", "--set", idle).out
    for key in ("loss.gamma=3", "schedule.cycles=4", "image.crop.top", "mix.mixup=0.2"):
        assert f"{key} does nothing here" in out
    used = "loss.name=focal loss.gamma=3 mix.mixup=0.2"
    assert "does nothing" not in podium(tiny.root, *TRAIN, "--only", "0", "--set", used).out


def test_both_corrections_of_imbalance_are_warned_about(tiny, podium):
    """Check the warning of class weights beside balanced draws, before the first fold is done."""
    tiny.folds()
    both = "training.sampling=balanced loss.class_weights=balanced"
    lines = podium(tiny.root, *TRAIN, "--only", "0", "--set", both).out.splitlines()
    warned = next(i for i, line in enumerate(lines) if "over-weigh" in line)
    assert warned < next(i for i, line in enumerate(lines) if "fold 0" in line)


def test_another_runtime_goes_on_with_the_same_run(tiny, podium):
    """Check that SET of the runtime alone does not name another run."""
    tiny.folds()
    podium(tiny.root, *TRAIN, "--only", "0")
    result = podium(tiny.root, *TRAIN, "--only", "0", "--set", "runtime.micro_batch=4")
    assert "lenet-baseline: nothing to train" in result.out


def test_a_folder_that_cannot_be_written_is_one_line(tiny, podium, monkeypatch):
    """Check that an error of the file system names file and remedy instead of a traceback."""
    tiny.folds()

    def refuse(path, content):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("pipeline.training.run.write_json", refuse)
    result = podium(tiny.root, *TRAIN, "--only", "0")
    assert result.status == 2 and result.err.count("\n") == 1
    assert "run.json: Read-only file system; make it" in result.err
    assert files.write_json is not refuse
