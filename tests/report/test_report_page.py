"""The page: from any state of a competition, whole, escaped, bounded, and always the same."""

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.config.project import Project
from pipeline.config.recipe import load_recipe
from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.choice import Menu
from pipeline.ensemble.imports import import_run
from pipeline.errors import PodiumError
from pipeline.report import report, scene
from pipeline.report.sections.shared import SHOWN
from pipeline.report.sections.standing import baseline_of
from pipeline.submission import set_score
from pipeline.submission.standings import Standing, submit

VOID = {"meta", "link", "br", "hr", "img", "input"}
SECTIONS = ("runs board baselines curves confusions classes confidence members pictures audit "
            "studies rates growth origin")  # fmt: skip
HOSTILE = ("<script>alert(1)</script>", "\u0639\u0631\u0628\u064a\u202e", "\U0001f600 {{ 7*7 }} `x")


def nothing(_: str) -> None:
    """Say nothing."""


def page(tiny, source: str = "") -> str:
    return report(tiny.project, "tiny", source, say=nothing).path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Reads a page whose tags must all be closed; `words` by the id of the section they are in."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.opened: list[tuple[str, dict]] = []
        self.words: dict[str, str] = {"": ""}
        self.at = ""
        self.feed(text)
        self.close()
        assert not self.stack, self.stack

    def handle_starttag(self, tag, attrs):
        self.opened.append((tag, dict(attrs)))
        if tag == "section":
            self.at = dict(attrs)["id"]
            self.words[self.at] = ""
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.opened.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, f"</{tag}> closes another tag"
        self.at = "" if tag == "section" else self.at

    def handle_data(self, data):
        if not {"script", "style"} & set(self.stack):
            self.words[self.at] += " ".join(data.split()) + " " if data.strip() else ""


def with_runs(tiny) -> None:
    """Make two runs, an ensemble, two submissions and their scores."""
    tiny.fake_run("a", skill=1.0)
    tiny.fake_run("b", skill=1.5)
    data, folds = tiny.data, tiny.folds()
    build_ensemble(data, folds, None, "all")
    for name, score in (("a", 0.5), ("ensemble-all", 0.6)):
        submit(data, folds, name)
        set_score(tiny.project, "tiny", name, public=score)


def with_best_ensemble(tiny) -> None:
    """Make five runs alike, and an ensemble of them that is better than each."""
    for name in "abcde":
        tiny.fake_run(name, skill=1.0)
    build_ensemble(tiny.data, tiny.folds(), None, "all")


def test_an_empty_competition_has_a_page(tiny):
    """Check that before folds and runs the page is whole, and each section says why it is empty and
    which command fills it."""
    made = report(tiny.project, "tiny", say=nothing)
    reader = Reader(made.path.read_text())
    assert made.where == "There is no finished run yet, so there is no score."
    assert made.next.startswith("`make audit COMP=tiny`")
    assert " ".join(key for key in reader.words if key) == SECTIONS
    for name in SECTIONS.split():
        if name != "pictures":  # each of whose galleries says it
            assert "Left out: " in reader.words[name], name
    assert reader.words["pictures"].count("make train COMP=tiny") == 2
    assert all("make " in reader.words[n] for n in ("runs", "board", "curves", "audit", "rates"))


def test_every_section_is_filled_where_there_is_something(tiny):
    """Check scores, sentences, galleries and commands of a competition with runs."""
    with_runs(tiny)
    folder = tiny.run("a") / "fold-0"
    folder.mkdir()
    (folder / "history.csv").write_text(
        "epoch,lr,train_loss,train_score,valid_loss,valid_score\n1,.1,2,.5,2,.4\n2,.1,1,.6,1,.5\n"
    )
    made = report(tiny.project, "tiny", say=nothing)
    reader = Reader(made.path.read_text())
    runs = reader.words["runs"]
    assert "ensemble-all" in runs and "(majority answer)" in runs and "0.6000" in runs
    for name in ("board", "baselines", "curves", "confusions", "classes", "confidence", "members"):
        assert "Left out" not in reader.words[name], name
    assert 'RUNS="a b" NAME=all' in reader.words["origin"]
    assert "make folds COMP=tiny" in reader.words["origin"]
    assert made.where.startswith("Best is `")
    with np.load(tiny.run(made.where.split("`")[1]) / "answers.npz") as stored:
        data = tiny.data
        places = [data.train.ids.tolist().index(i) for i in stored["ids"]]
        wrong = stored["answer"] != data.labels[places]
    assert f"{wrong.sum()} of 42 validated rows are answered wrongly" in reader.words["pictures"]


def test_the_page_needs_nothing_else(tiny):
    """Check that nothing is fetched, no style or script stands in an attribute, ids are there once,
    references lead to them, and headings descend step by step."""
    with_runs(tiny)
    text = page(tiny)
    reader = Reader(text)
    told = re.sub(r"data:image/[^\"]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", told, re.I)
    ids = [a["id"] for _, a in reader.opened if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a.get("href", "") for _, a in reader.opened if "href" in a]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert {link for link in links if link[0] != "#" and not link.startswith("data:")} <= {
        "audit.html"
    }
    for _, attributes in reader.opened:
        assert "style" not in attributes and not any(n.startswith("on") for n in attributes)
    levels = [int(tag[1]) for tag, _ in reader.opened if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(a.get("scope") for tag, a in reader.opened if tag == "th")


def test_the_same_records_make_the_same_bytes(tiny, snapshot):
    """Check that a second page is the first, and that nothing but the page was written: no ledger,
    no comparison, no list."""
    with_runs(tiny)
    page(tiny)  # decides for the runs that have no decision yet
    before = snapshot(tiny.root)
    page(tiny)
    assert snapshot(tiny.root) == before


def test_answers_to_the_test_set_change_nothing(tiny):
    """Check that the page is the same where the local answers are others."""
    with_runs(tiny)
    before = page(tiny)
    tiny.edit("answers", lambda frame: frame.assign(label=frame["label"].to_numpy()[::-1]))
    assert page(tiny) == before


def test_half_broken_runs_are_named_and_stop_nothing(tiny):
    """Check a record that is no JSON, answers and diagnostics that are gone, a history that is cut,
    a run of other folds, and an audit that cannot be read."""
    with_runs(tiny)
    page(tiny)
    for name in ("c", "d", "e"):
        tiny.fake_run(name)
    (tiny.run("c") / "run.json").write_text("{")
    (tiny.run("d") / "oof.npz").write_bytes(b"PK")
    tiny.fake_run("e", folds_hash="others")
    (tiny.run("a") / "fold-0").mkdir()
    (tiny.run("a") / "fold-0" / "history.csv").write_text("epoch,lr\n1")
    (tiny.project.audit("tiny")).write_text("[]")
    words = Reader(page(tiny)).words
    for name in ("c", "d", "e"):
        assert f"left out: {name} : " in words["runs"], name
    assert "ensemble-all" in words["runs"]
    assert "audit.json" in words["audit"] and "make audit COMP=tiny" in words["audit"]


def test_no_run_that_can_be_read_is_an_empty_page(tiny):
    """Check that the reason stands where the runs would."""
    tiny.folds()
    tiny.fake_run("a")
    (tiny.run("a") / "run.json").write_text("{")
    made = report(tiny.project, "tiny", say=nothing)
    words = Reader(made.path.read_text()).words
    assert "not valid JSON" in words["runs"] and "not valid JSON" in made.wrong
    assert made.where == "No score can be told: what is recorded cannot be read."
    assert "make train" not in made.next


def test_a_broken_ledger_is_what_is_wrong(tiny):
    """Check that runs which cannot be ranked are not called missing, by any sentence or gallery."""
    with_runs(tiny)
    tiny.project.ledger("tiny").write_text("junk\n")
    made = report(tiny.project, "tiny", say=nothing)
    assert made.where == "No score can be told: what is recorded cannot be read."
    assert "ledger.csv" in made.wrong and "mend that" in made.next.lower()
    assert "make train" not in Reader(made.path.read_text()).words["pictures"]
    with pytest.raises(PodiumError, match=r"^MISTAKES: .*ledger\.csv"):
        report(tiny.project, "tiny", mistakes=True, say=nothing)


def test_broken_files_of_the_best_are_what_is_wrong(tiny):
    """Check that where the best cannot be shown, its error is told, and its submission is known."""
    with_best_ensemble(tiny)
    submit(tiny.data, tiny.folds(), "ensemble-all")
    set_score(tiny.project, "tiny", "ensemble-all", public=0.6)
    (tiny.run("ensemble-all") / "diagnostics.json").write_text("{}")
    made = report(tiny.project, "tiny", say=nothing)
    assert "`ensemble-all`" in made.where and "public 0.6" in made.where
    assert "diagnostics.json" in made.wrong and "make submit" not in made.next
    assert "diagnostics.json" in Reader(made.path.read_text()).words["pictures"]
    with pytest.raises(PodiumError, match=r"^MISTAKES: .*diagnostics\.json"):
        report(tiny.project, "tiny", mistakes=True, say=nothing)
    with pytest.raises(PodiumError, match=r"^FROM: ensemble-all cannot be shown: .*diagnostics"):
        report(tiny.project, "tiny", "ensemble-all", say=nothing)


@pytest.mark.parametrize(
    "key, value",
    [
        ("folds", [1]),
        ("folds", {"0": 5}),
        ("versions", [1]),
        ("seconds", "abc"),
        ("arch", {"a": 1}),
        ("recipe", 3),
        ("git_commit", 5),
        ("created", 7),
    ],
)
def test_records_of_other_kinds_stop_nothing(tiny, key, value):
    """Check that a record with a field of another kind is named, and the page is made."""
    with_runs(tiny)
    path = tiny.run("a") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    made = report(tiny.project, "tiny", say=nothing)
    assert f"{key}: " in Reader(made.path.read_text()).words["runs"]
    assert "`a`, which cannot be read" in made.wrong or "`a`" not in made.where


def test_predictions_that_cannot_be_read_are_what_is_wrong(tiny):
    """Check that a damaged file which takes the best away is told first, with its remedy."""
    with_best_ensemble(tiny)
    assert "`ensemble-all`" in report(tiny.project, "tiny", say=nothing).where
    whole = (tiny.run("c") / "oof.npz").read_bytes()
    (tiny.run("c") / "oof.npz").write_bytes(whole[:3000])
    made = report(tiny.project, "tiny", say=nothing)
    assert "`ensemble-all`" not in made.where
    assert made.wrong.startswith("`c` and 1 more cannot be used: ")
    assert "c/oof.npz: not a readable prediction file" in made.wrong
    assert "make train" in made.next.lower() and "make report COMP=tiny" in made.next
    (tiny.run("c") / "oof.npz").write_bytes(whole)
    (tiny.run("ensemble-all") / "ensemble.json").write_text("{")
    made = report(tiny.project, "tiny", say=nothing)
    assert made.wrong.startswith("`ensemble-all` cannot be used: ")
    assert "make ensemble NAME=ensemble-all again" in made.next.replace("Make", "make")


def test_runs_on_the_labels_before_corrections(tiny):
    """Check that they are not called missing, that the next step trains the like of one under
    another name, and that submissions are shown as make leaderboard does."""
    recipe = load_recipe(tiny.project, "baseline", arch="resnet10t", competition={})
    record = {"recipe": recipe.model_dump(mode="json"), "recipe_name": "baseline"}
    more = record | {"recipe_hash": recipe.hash, "arch": "resnet10t", "seed": 0}
    with_runs(tiny)
    tiny.fake_run("a", **more)
    first = tiny.data.train
    (tiny.root / "data" / "tiny" / "fixed.csv").write_text(
        f"id,corrected\n{first.ids[0]},{tiny.data.classes[(tiny.data.labels[0] + 1) % 3]}\n"
    )
    tiny.configure(corrections="fixed.csv")
    made = report(tiny.project, "tiny", say=nothing)
    assert made.where.startswith(
        "No run counts now, so there is no score: `a`, `b`, `ensemble-all`"
    )
    assert "trained on other labels" in made.where
    assert "make train COMP=tiny" in made.next and "NAME=corrected" in made.next
    words = Reader(made.path.read_text()).words
    assert "002 ensemble-all" in words["board"] and "by other labels" in words["board"]
    assert "no finished run" not in " ".join(words.values())
    tiny.fake_run("corrected", data_hash="0" * 16)
    assert "NAME=corrected-2" in report(tiny.project, "tiny", say=nothing).next


def test_an_ensemble_made_anew_is_not_submitted_yet(tiny):
    """Check that a ledger's row of an older ensemble of that name does not count."""
    with_best_ensemble(tiny)
    submit(tiny.data, tiny.folds(), "ensemble-all")
    honest = re.search(r"accuracy (\S+)", report(tiny.project, "tiny", say=nothing).where)
    set_score(tiny.project, "tiny", "ensemble-all", public=float(honest[1]))
    assert "make submit" not in report(tiny.project, "tiny", say=nothing).next
    build_ensemble(tiny.data, tiny.folds(), ["a", "b", "c"], "all")
    made = report(tiny.project, "tiny", say=nothing)
    assert "`ensemble-all`" in made.where and "no leaderboard score" in made.where
    assert "make submit COMP=tiny FROM=ensemble-all" in made.next


def test_odd_files_around_the_runs_stop_nothing(tiny):
    """Check a study, a test and a curve whose fields are gone or empty."""
    with_runs(tiny)
    files = {
        "study-s/trials.csv": "number,score,run\n0,0.5,s-0000\n",
        "lr-find-a/lr-find.csv": "lr,loss,smoothed\n0.1,,1\n",
        "lr-find-a/lr-find.json": "{}",
        "curve-a/curve.json": json.dumps({"sizes": [{"rows": 5, "mean": 0.5}]}),
    }
    for name, text in files.items():
        path = tiny.project.runs("tiny") / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    words = Reader(page(tiny)).words
    for section, folder in (("studies", "study-s"), ("rates", "lr-find-a"), ("growth", "curve-a")):
        assert f"{folder} cannot be shown" in " ".join(words[section].split()), section


def test_imports_and_other_tasks(make_tiny):
    """Check imported runs, which have neither networks nor versions, of several labels."""
    tiny = make_tiny(task="multilabel", folder="labels")
    source = tiny.fake_run("source", skill=0.5)
    files = ",".join(str(source / name) for name in ("oof.npz", "test.npz"))
    import_run(tiny.data, tiny.folds(), files, "a")
    shutil.rmtree(source)
    tiny.fake_run("b", skill=0.7)
    build_ensemble(tiny.data, tiny.folds(), None, "all")
    words = Reader(page(tiny)).words
    assert "make import COMP=tiny NAME=a DATA=oof.npz,test.npz" in words["origin"]
    assert "superfluous" in words["confusions"] and "rightly not there" in words["confusions"]
    assert "missing" in words["pictures"]


def test_a_metric_of_probabilities(make_tiny):
    """Check that answers that are probabilities are shown by their likeliest class."""
    tiny = make_tiny(metric="log_loss", folder="loss")
    tiny.fake_run("a")
    tiny.fake_run("b", skill=2.0)
    made = report(tiny.project, "tiny", say=nothing)
    words = Reader(made.path.read_text()).words
    assert "Best is `b`" in made.where and "over the majority answer" in made.where
    assert "lower is better" in words["runs"] and "answered wrongly by b" in words["pictures"]


def test_a_class_that_is_never_answered(tiny):
    """Check that it is what is wrong, and has a line without precision."""
    probs = np.tile([0.5, 0.4, 0.1], (42, 1))
    probs[::2] = [0.4, 0.5, 0.1]
    tiny.fake_run("a", probs={"oof": probs})
    made = report(tiny.project, "tiny", say=nothing)
    rows = int((tiny.data.labels == 2).sum())
    assert made.wrong == f"Class owl ({rows} rows) is never answered by `a`."
    assert re.search(rf"owl {rows} 0 - 0.000 0.000", Reader(made.path.read_text()).words["classes"])


def test_everything_that_comes_from_data_is_escaped(tiny):
    """Check class names that are markup, templates, or turn the direction of text."""
    names = dict(zip(("cat", "dog", "owl"), HOSTILE, strict=True))
    for table in ("train", "answers", "sample_submission"):
        tiny.edit(table, lambda frame: frame.assign(label=frame["label"].map(names)))
    tiny.configure(title=HOSTILE[0])
    with_runs(tiny)
    text = page(tiny)
    reader = Reader(text)
    assert [tag for tag, _ in reader.opened].count("script") == 1 and "\u202e" not in text
    assert all(name.rstrip("\u202e").split("`")[0] in " ".join(reader.words.values())
               for name in HOSTILE)  # fmt: skip
    assert "49" not in reader.words["classes"].split("rows")[0]


def test_a_thousand_classes_stay_below_five_megabytes(make_tiny):
    """Check the bound on bytes, with pictures of noise that cannot be made small."""
    tiny = make_tiny(folder="wide", classes=1000, rows=2200, test=5, images=True)
    tiny.fake_run("a", skill=3.0)
    menu = Menu(("mean",), ("argmax",), ("none",))  # others take long with so many classes
    build_ensemble(tiny.data, tiny.folds(), ["a"], "x", menu=menu)
    shutil.rmtree(tiny.run("a"))
    made = report(tiny.project, "tiny", say=nothing)
    words = Reader(made.path.read_text()).words
    assert made.size < 5_000_000 and "the commonest confusions of 1,000" in words["confusions"]
    assert "600 more lines left out" in words["classes"]
    assert made.wrong.startswith("`ensemble-x` is made of `a`, no longer there")


def test_a_hundred_runs_stay_below_five_megabytes(tiny, monkeypatch):
    """Check the bound on bytes, that all runs are in the table, and few of them in full; most have
    standings alone, since deciding for a hundred takes long."""
    for number in range(100):
        tiny.fake_run(f"run-{number:03d}", skill=2 - number / 50)
        folder = tiny.run(f"run-{number:03d}") / "fold-0"
        folder.mkdir()
        lines = [f"{n},.1,{n},.5,{n},.{n}" for n in range(1, 50)]
        head = "epoch,lr,train_loss,train_score,valid_loss,valid_score"
        (folder / "history.csv").write_text("\n".join([head, *lines]))

    def stand(data, folds):
        names = [f"run-{n:03d}" for n in range(100)]
        none = (1.0, "-", "argmax", None, "")
        return [Standing(n, 0.9, 0.9 - i / 200, 0.1, *none) for i, n in enumerate(names)], {}

    monkeypatch.setattr(scene, "standings", stand)
    made = report(tiny.project, "tiny", say=nothing)
    words = Reader(made.path.read_text()).words
    assert made.size < 5_000_000 and all(f"run-{n:03d}" in words["runs"] for n in range(100))
    assert "The 94 other runs are left out." in words["curves"]
    assert len(re.findall(r"run-\d+, honest", words["confusions"])) == SHOWN


def test_from_names_what_is_shown_and_must_be_there(tiny):
    """Check the galleries of another run than the best, and names that are none or unfinished."""
    with_runs(tiny)
    assert "answered wrongly by a" in Reader(page(tiny, "a")).words["pictures"]
    with pytest.raises(PodiumError, match=r"FROM: experiments/runs/tiny/nobody is not a run"):
        page(tiny, "nobody")
    tiny.fake_run("e", complete=False)
    with pytest.raises(PodiumError, match=r"FROM: e cannot be shown: not finished"):
        page(tiny, "e")
    with pytest.raises(PodiumError, match=r"MISTAKES: other has no finished run"):
        path = tiny.project.competition("tiny")
        path.with_stem("other").write_text(path.read_text())
        report(tiny.project, "other", mistakes=True, say=nothing)


def test_studies_tests_and_curves_are_drawn_again(tiny):
    """Check what other verbs left behind, whole and broken."""
    runs = tiny.project.runs("tiny")
    study, rates, curve = (runs / f"{k}-x" for k in ("study", "lr-find", "curve"))
    for folder in (study, rates, curve, runs / "curve-broken", runs / "study-empty"):
        folder.mkdir(parents=True)
    (study / "trials.csv").write_text(
        "number,run,state,level,score\n0,x-0,done,full,.5\n1,x-1,done,full,.75\n2,x-2,broken,full,\n"
    )
    (rates / "lr-find.json").write_text(
        json.dumps({"suggestion": {"lr": 0.01}, "reason": "why", "next": "make train LR"})
    )
    lines = [f"{n},{10.0**-n},{n},{n}" for n in range(5, 0, -1)]
    (rates / "lr-find.csv").write_text("\n".join(["step,lr,loss,smoothed", *lines]))
    sizes = [{"rows": n, "mean": n / 100, "scores": {"0": n / 100}} for n in (20, 10)]
    expected = {"2n": {"median": 0.3, "low": 0.2, "high": 0.4}}
    content = {"sizes": sizes, "sentence": "Twice", "fit": {"expected": expected}}
    (curve / "curve.json").write_text(json.dumps(content))
    (runs / "curve-broken" / "curve.json").write_text("{")
    words = Reader(page(tiny)).words
    assert "3 trials, 2 of them to level full; the best is x-1 with 0.7500" in words["studies"]
    assert "+0.2500 over trial 0" in words["studies"] and "No trial of empty" in words["studies"]
    assert "suggested 1.0e-02" in words["rates"] and "make train LR" in words["rates"]
    assert "Twice." in words["growth"] and "2 times the rows" in words["growth"]


@pytest.mark.parametrize(
    "recipe, kind",
    [
        ("untrained", "an untrained network"),
        ("simple-cnn", "a simple CNN"),
        ("lenet", "a simple CNN"),
        ("frozen", "a frozen backbone"),
        ("baseline", ""),
    ],
)
def test_baselines_are_known_by_their_recipe(recipe, kind):
    """Check the project's own recipes, by content."""
    project = Project(Path(pipeline.__file__).parent.parent)
    content = load_recipe(project, recipe, arch="" if recipe in ("simple-cnn", "lenet") else "x")
    assert baseline_of({"recipe": content.model_dump(mode="json")}) == kind
    assert baseline_of({}) == baseline_of({"recipe": {}}) == ""
