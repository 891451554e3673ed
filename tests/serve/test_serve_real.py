"""From training to an answer over HTTP: the same answers as `make predict`."""

import csv
import io

import pytest

pytest.importorskip("gradio", reason="make serve needs gradio; make setup EXTRAS=serve")
pytest.importorskip("onnxscript", reason="make export needs onnxscript; make setup EXTRAS=export")

from serving import multipart, running

from pipeline.deploy.export.export import export
from pipeline.deploy.predict import predict
from pipeline.training.request import TrainRequest
from pipeline.training.train import train


@pytest.mark.slow
def test_a_real_export_answers_as_predict_does(tiny, tmp_path):
    """Check that a trained run that was exported answers pictures over HTTP as `make predict`
    does, in answers, confidence and probabilities, and tells its title, classes and honest
    score."""
    tiny.folds(n_folds=2)
    train(tiny.project, TrainRequest("tiny", ["lenet"], name="real"), str)
    export(tiny.project, "tiny", "real", max_mb=50, say=str)
    folder = tiny.root / "data" / "tiny" / "images"
    table = predict(
        tiny.project, "tiny", "real", folder, out=tmp_path / "a.csv", confidence=0.4, say=str
    ).path
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    files = [(row["image"], (folder / row["image"]).read_bytes()) for row in rows]
    with running(tiny.root, "tiny", "real") as server:
        model = server.get("/v1/model").json
        told = server.post(*multipart(files), "/v1/predict?confidence=0.4").json["pictures"]
    classes = list(tiny.data.classes)
    assert model["classes"] == classes and model["source"] == "real"
    assert model["score"]["metric"] == "accuracy" and 0 <= model["score"]["honest"] <= 1
    assert [one["name"] for one in told] == [row["image"] for row in rows]
    for one, row in zip(told, rows, strict=True):
        assert one["confidence"] == pytest.approx(float(row["confidence"]), abs=1e-4)
        expected = {name: pytest.approx(float(row[f"p_{name}"]), abs=1e-4) for name in classes}
        assert one["probabilities"] == expected
    same = sum(one["answer"] == row["answer"] for one, row in zip(told, rows, strict=True))
    assert same >= len(rows) - 1  # a probability at the very level may fall to either side
