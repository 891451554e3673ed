"""Uploads by the real client to a stand-in for the site: once, whatever goes wrong in between."""

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from kaggle_site import SLUG, Fail, KaggleSite, serving

import pipeline
from pipeline.artifacts.locks import lock
from pipeline.errors import PodiumError
from pipeline.submission import rows, set_score, write_submission
from pipeline.submission.upload import fetch_scores, fetched_parts, upload, uploaded_parts
from pipeline.submission.upload.site import open_site
from pipeline.submission.upload.upload import Pace

# Not kaggle itself, whose import would look for the credentials of whoever runs the tests.
for needed in ("kagglesdk", "six"):
    pytest.importorskip(needed, reason="Kaggle's client: make setup EXTRAS=upload")
FAST = Pace(back_off=0.01, poll=0.01, limit=5.0)


@pytest.fixture
def site(monkeypatch, tmp_path):
    """A site that the client, imported anew, takes for Kaggle."""
    with serving(KaggleSite()) as site:
        for name in [name for name in os.environ if name.startswith("KAGGLE")]:
            monkeypatch.delenv(name)
        for name, value in site.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
        for name in [name for name in sys.modules if name.partition(".")[0] == "kaggle"]:
            monkeypatch.delitem(sys.modules, name)
        yield site


@pytest.fixture
def entered(contest_of):
    """A competition that is on Kaggle, with a submission of run a."""
    contest = contest_of("name")
    contest.configure(kaggle=SLUG)
    submit(contest, "a")
    return contest


def submit(contest, source: str, shift: int = 0) -> None:
    answer = (contest.answer + shift) % 3
    cv = {"cv_honest": 0.9, "cv_se": 0.01}
    write_submission(contest.data, contest.ids, answer, None, source=source, cv=cv, note="plain")


def send(contest, number: int = 1, **options):
    said: list[str] = []
    made = upload(contest.data, number, said.append, pace=FAST, **options)
    return made, said


def row(contest, number: int = 1):
    found = rows(contest.data.project, "tiny")
    return next(entry for entry in found if entry.number == number)


def refusal(contest, **options) -> str:
    """Return the one line that an upload ends with."""
    with pytest.raises(PodiumError) as raised:
        send(contest, **options)
    assert "\n" not in str(raised.value) and not (row(contest).public or row(contest).private)
    return str(raised.value)


def test_a_file_is_sent_and_its_score_entered(site, entered):
    """Check that the bytes arrive as they are, by number and sha256, and the score comes back."""
    made, said = send(entered)
    file = entered.data.project.root / row(entered).file
    assert site.files == [hashlib.sha256(file.read_bytes()).hexdigest()]
    assert site.submissions[0]["description"] == f"podium 001 {row(entered).sha256[:12]} a"
    assert (row(entered).public, row(entered).private) == ("0.91234", "")
    assert row(entered).note == "plain; kaggle 1000"
    assert not made.found and made.sent.ref == 1000
    assert any("Successfully submitted" in line for line in said)
    assert uploaded_parts(made) == ["number 1, a: public 0.91234"]


def test_the_same_command_again_sends_nothing(site, entered):
    """Check that a file that is there is not sent again, nor under another number or name."""
    send(entered)
    made, _ = send(entered)
    assert made.found and "not sent again" in uploaded_parts(made)[0]
    submit(entered, "b")  # the same bytes, of another source
    made, _ = send(entered, 2)
    assert made.found and row(entered, 2).public == "0.91234"
    assert site.count("CreateSubmission") == site.count("PUT") == 1


def test_a_list_that_is_late_sends_nothing_twice(site, entered):
    """Check that the site's number in the ledger keeps a file from being sent again, under another
    number and name, too; that this is said; and that the score is found later."""
    site.late, brief = True, replace(FAST, limit=0.05)
    upload(entered.data, 1, print, pace=brief)
    assert row(entered).note == "plain; kaggle 1000"
    submit(entered, "b")  # the same bytes
    for number in (1, 2):
        made = upload(entered.data, number, print, pace=brief)
        assert made.found and "notes it as Kaggle's 1000" in uploaded_parts(made)[1]
    assert site.count("CreateSubmission") == 1
    assert fetched_parts(fetch_scores(entered.data, SLUG))[1] == "not scored yet: 001 a, 002 b"
    site.late, site.submissions[0]["description"] = False, "renamed on the site"
    assert send(entered)[0].found and row(entered).public == "0.91234"


def test_interrupted_while_it_waits(site, entered, monkeypatch):
    """Check that the note is there before the wait begins."""
    site.late = True

    def interrupted(seconds: float) -> None:
        assert row(entered).note == "plain; kaggle 1000"
        raise KeyboardInterrupt

    clock = SimpleNamespace(sleep=interrupted, monotonic=time.monotonic)  # not that of the site
    monkeypatch.setattr(sys.modules["pipeline.submission.upload.upload"], "time", clock)
    with pytest.raises(KeyboardInterrupt):
        send(entered)


def test_another_score_of_the_site_is_told(site, entered):
    """Check that a score that differs from the ledger's stays, with a warning of both numbers, and
    that one which the site rounds does not differ."""
    set_score(entered.data.project, "tiny", 1, public=0.5)
    made, _ = send(entered)
    assert row(entered).public == "0.5"
    assert "public score of 001 is 0.91234, but the ledger has 0.5, which stays" in made.warning
    assert "FROM=1 SCORE=0.91234" in fetch_scores(entered.data, SLUG).warnings[0]
    set_score(entered.data.project, "tiny", 1, public=0.912341)
    assert not send(entered)[0].warning


def test_without_an_open_row_nobody_is_asked(site, entered):
    """Check that this is not told as an answer of the site."""
    set_score(entered.data.project, "tiny", 1, public=0.5, private=0.4)
    assert "Kaggle was not asked" in fetched_parts(fetch_scores(entered.data, SLUG))[0]
    assert not site.calls


def test_another_file_is_another_submission(site, entered):
    """Check that each file gets its own score."""
    send(entered)
    submit(entered, "b", shift=1)
    site.graded["publicScore"] = "0.5"
    send(entered, 2)
    assert len(set(site.files)) == 2
    assert [row(entered, n).public for n in (1, 2)] == ["0.91234", "0.5"]


def test_a_private_score_is_entered_where_it_is_shown(site, entered):
    """Check that both scores of a competition that is over come back."""
    site.graded["privateScore"] = "0.8"
    made, _ = send(entered)
    assert (row(entered).public, row(entered).private) == ("0.91234", "0.8")
    assert uploaded_parts(made) == ["number 1, a: public 0.91234, private 0.8"]


def test_a_score_by_another_metric_is_not_entered(site, entered):
    """Check that 91.2 is no accuracy, and said to be none."""
    site.graded["publicScore"] = "91.2"
    made, _ = send(entered)
    assert row(entered).public == "" and "is 91.2, but accuracy lies" in made.warning
    assert uploaded_parts(made)[0].startswith("warning: Kaggle's public score of 001")


def test_an_older_submission_is_found_on_its_page(site, entered):
    """Check that all pages are looked through before a file is sent."""
    site.page = 2
    send(entered)
    for number in range(5):
        other = site.submissions[-1] | {"ref": number, "description": f"podium 001 {number:012x} a"}
        site.submissions.insert(0, other)
    assert send(entered)[0].found
    assert site.count("CreateSubmission") == 1


@pytest.mark.parametrize(
    ("method", "fault", "words"),
    [
        ("ListSubmissions", Fail(403, "You must accept"), "403: You must accept.*/rules"),
        ("CreateSubmission", Fail(403, "Closed"), r"not allowed \(403: Closed\)"),
        ("ListSubmissions", Fail(404, "Not found"), "404: Not found.*`kaggle` in the compet"),
        ("ListSubmissions", Fail(401, "Unauthenticated"), r"credentials \(401\); make a new tok"),
        (
            "StartSubmissionUpload",
            Fail(400, "Your team has used its daily Submission allowance (5)."),
            r"limit .* reached \(400: Your team has used its daily Submission allowance \(5\)\)",
        ),
        ("CreateSubmission", Fail(429, "Slow down"), r"limit .* reached \(429: Slow down\)"),
        ("CreateSubmission", Fail(403, "Too many today"), r"limit .* reached \(403: Too many"),
        ("CreateSubmission", Fail(400, "Wrong file type"), r"refused \(400: Wrong file type\)"),
    ],
)
def test_what_the_site_refuses(site, entered, method, fault, words):
    """Check that each refusal is one line with the site's words and a remedy, not tried again."""
    site.fail(method, *[fault] * 9)
    with pytest.raises(PodiumError, match=words):
        send(entered)
    assert site.count(method) == 1 and not site.submissions


def test_a_competition_that_is_not_there(site, entered):
    """Check that the site's own 404 names the key of the YAML."""
    entered.configure(kaggle="plant-pathologie")
    assert "no competition 'plant-pathologie'" in refusal(entered)


def test_a_file_that_the_site_cannot_read(site, entered):
    """Check that the site's description of the fault is passed on, and the file not sent again."""
    site.graded = {"status": "ERROR", "errorDescription": "Missing\nrows: 5"}
    assert "refused the file (Missing rows: 5)" in refusal(entered)
    refusal(entered)
    assert site.count("CreateSubmission") == 1


@pytest.mark.parametrize(
    ("token", "words"),
    [("", "Kaggle: no credentials; make a token"), ("KGAT_wrong", "the token is not valid")],
)
def test_credentials(site, entered, monkeypatch, token, words):
    """Check that none and wrong ones are told apart, before anything is sent."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    if not token:
        monkeypatch.delenv("KAGGLE_API_TOKEN")
    assert words in refusal(entered)
    assert not {"StartSubmissionUpload", "CreateSubmission"} & set(site.calls)


def test_a_wrong_key_of_the_old_kind(site, entered, monkeypatch):
    """Check that user name and key, which only a call can tell to be wrong, are refused as well."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv("KAGGLE_KEY", "0123")
    assert "does not take your credentials (401)" in refusal(entered)


def everything_said(error: BaseException) -> str:
    """Return a traceback with all that an error came of."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("token", ["KGAT_right\n", "KGAT_right\u20ac", "KGAT_\r\nright"])
@pytest.mark.parametrize("key", ["KAGGLE_API_TOKEN", "KAGGLE_KEY"])
def test_credentials_that_cannot_be_sent(site, entered, monkeypatch, token, key):
    """Check that a token with a newline or an odd letter is one line, which does not show it."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv(key, token)
    with pytest.raises(PodiumError, match="does not take your credentials") as raised:
        send(entered)
    assert "right" not in everything_said(raised.value) and not site.files


@pytest.mark.parametrize("content", ["[1]", '"right"', None])
def test_a_file_of_credentials_that_is_none(site, entered, monkeypatch, tmp_path, content):
    """Check that a kaggle.json of another kind, or a folder where the token's file should be, is
    refused at once."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    folder = tmp_path / "home" / ".kaggle"
    folder.mkdir(parents=True)
    if content is None:
        (folder / "access_token").mkdir()
    else:
        (folder / "kaggle.json").write_text(content)
    with pytest.raises(PodiumError, match="Kaggle does not take your credentials") as raised:
        send(entered)
    assert "right" not in everything_said(raised.value) and not site.calls


def test_without_the_package(entered, monkeypatch):
    """Check that a package that is not installed is named with the command that installs it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "not installed (no package kaggle); make setup EXTRAS=upload" in refusal(entered)


def test_without_what_the_package_needs(site, entered, monkeypatch):
    """Check the same where something that it imports is missing."""
    monkeypatch.setitem(sys.modules, "six", None)
    assert "six" in refusal(entered) and not site.calls


def test_without_a_name_on_kaggle(contest_of):
    """Check that a competition that is not on Kaggle says which key to add."""
    contest = contest_of("name")
    submit(contest, "a")
    assert "names no `kaggle`" in refusal(contest)


def test_a_changed_file_is_not_sent(site, entered):
    """Check that only what was entered in the ledger is sent."""
    path = entered.data.project.root / row(entered).file
    path.write_text(path.read_text() + "x,dog\n")
    assert "was changed after it was entered" in refusal(entered)
    assert not site.calls


@pytest.mark.parametrize(
    "fault",
    [
        Fail(503, "busy"),
        Fail(500, "oops"),
        Fail(),
        Fail(503, "busy", after=True),
        Fail(502, "bad gateway", after=True),
        Fail(after=True),
    ],
)
def test_a_fault_while_it_is_submitted(site, entered, fault):
    """Check that a fault that may pass is tried again, but not where the file had been taken."""
    site.fail("CreateSubmission", fault)
    send(entered)
    assert len(site.files) == 1 and row(entered).public == "0.91234"
    assert site.count("CreateSubmission") == (1 if fault.after else 2)


@pytest.mark.parametrize("method", ["IntrospectToken", "ListSubmissions", "StartSubmissionUpload"])
@pytest.mark.parametrize("fault", [Fail(503, "busy"), Fail()])
def test_a_fault_before_anything_is_sent(site, entered, method, fault):
    """Check that each call before the file is sent is tried again."""
    site.fail(method, fault, fault)
    made, said = send(entered)
    assert len(site.files) == 1 and not made.found
    pauses = [line.rpartition("again in ")[2] for line in said if "again in" in line]
    assert pauses == ["0.01 s", "0.02 s"][: 1 if method == "IntrospectToken" else 2]


def test_a_fault_while_the_file_is_sent(site, entered):
    """Check that a file that did not arrive is sent anew, and is whole."""
    site.fail("PUT", Fail(500, "disk full"), Fail(503, "busy"))
    send(entered)
    file = entered.data.project.root / row(entered).file
    assert site.files == [hashlib.sha256(file.read_bytes()).hexdigest()]
    assert site.count("PUT") == 3


def test_faults_without_end(site, entered):
    """Check that it gives up after some attempts, and says what to do later."""
    site.fail("CreateSubmission", *[Fail(503, "busy")] * 9)
    words = refusal(entered)
    assert "fault of its own (503: busy)" in words and "sends nothing twice" in words
    assert site.count("CreateSubmission") == 4 and not site.files


def test_no_network(site, entered, monkeypatch):
    """Check that a site that is not there is told as such."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert "Kaggle cannot be reached" in refusal(entered)


def test_no_answer_in_time(site, entered):
    """Check that a late answer is not waited for, and what may have arrived is not sent again."""
    slow = replace(open_site(SLUG), sending=0.3)
    site.fail("CreateSubmission", Fail(seconds=0.8))
    assert "did not answer within 0.3 s" in refusal(entered, site=slow)
    time.sleep(0.8)
    assert send(entered)[0].found
    assert site.count("CreateSubmission") == 1 and row(entered).public == "0.91234"


def test_a_score_that_does_not_come(site, entered):
    """Check that waiting ends with a command that asks again, which then enters the score."""
    site.polls = 10_000
    brief = replace(FAST, limit=0.1)
    made = upload(entered.data, 1, print, pace=brief)
    assert uploaded_parts(made) == ["no score yet; ask again: make score COMP=tiny"]
    assert row(entered).note == "plain; kaggle 1000"
    waiting = fetch_scores(entered.data, SLUG)
    assert fetched_parts(waiting) == ["no new score on Kaggle", "not scored yet: 001 a"]
    site.polls = 0
    assert fetched_parts(fetch_scores(entered.data, SLUG)) == ["number 1, a: public 0.91234"]
    assert row(entered).public == "0.91234"


def test_a_fault_while_it_waits_for_the_score(site, entered):
    """Check that the file has arrived by then, so that a fault only means to wait on."""
    works = Fail(seconds=0.001)
    site.fail("ListSubmissions", works, Fail(503, "busy"), Fail(), Fail(500, "oops"))
    made, said = send(entered)
    assert made.entry.public == "0.91234" and len(site.files) == 1
    assert not [line for line in said if "again in" in line]


def test_scores_of_all_rows(site, entered):
    """Check that one question enters every score, once, and names rows that the site lacks."""
    for shift, source in enumerate("bcd", start=1):
        submit(entered, source, shift % 3)  # d is the file of a
    brief = replace(FAST, limit=0.0)
    upload(entered.data, 1, print, pace=brief)
    upload(entered.data, 2, print, pace=brief)
    site.polls = 0
    parts = fetched_parts(fetch_scores(entered.data, SLUG))
    assert parts[:3] == [
        f"number {n}, {s}: public 0.91234" for n, s in ((1, "a"), (2, "b"), (4, "d"))
    ]
    assert parts[3] == "not on Kaggle under our description: 003 c"
    assert fetched_parts(fetch_scores(entered.data, SLUG))[0] == "no new score on Kaggle"
    site.submissions[-1]["privateScore"] = "0.7"
    assert fetched_parts(fetch_scores(entered.data, SLUG))[0] == (
        "number 1, a: public 0.91234, private 0.7"
    )
    site.submissions[0].update(status="ERROR", errorDescription="no")
    assert "number 2: Kaggle refused the file: no" in fetched_parts(
        fetch_scores(entered.data, SLUG)
    )


def test_two_uploads_at_once(site, entered):
    """Check that the second is refused while the first sends, and nothing is sent for it."""
    guard = entered.data.project.submissions("tiny") / "upload.lock"
    with lock(guard, "an upload"):
        assert "is being worked on by process" in refusal(entered)
    assert site.count("StartSubmissionUpload") == 0


def test_a_bug_is_no_fault_of_the_network(site, entered, monkeypatch):
    """Check that an exception that has nothing to do with the site is raised as it is."""
    there = open_site(SLUG)
    monkeypatch.setattr(there.api, "competition_submissions", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        send(entered, site=there)


def importing() -> dict[str, str]:
    """Return the environment of a process that can import what this one can."""
    root = Path(pipeline.__file__).parent.parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])}


UPLOADING = """
import sys
from pathlib import Path
from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.submission.upload import upload
upload(load_data(Project(Path(sys.argv[1])), "tiny"), 1, print)
"""


def test_killed_between_upload_and_entry(site, entered):
    """Check that a process killed while it waits for the score is taken up where it was."""
    site.polls = 10_000
    command = [sys.executable, "-c", UPLOADING, str(entered.data.project.root)]
    process = subprocess.Popen(command, env=importing(), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not site.files and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert len(site.files) == 1 and row(entered).note in ("plain", "plain; kaggle 1000")
    site.polls = 0
    assert send(entered)[0].found
    assert len(site.files) == 1 and row(entered).public == "0.91234"


SUBMITTING = """
import os, sys
os.chdir(sys.argv.pop(1))
from pipeline import cli
sys.argv = ["pipeline", "submit", "--comp", "tiny", "--from", "a"]
cli.main()
import pipeline.submission.upload
print(sorted(name for name in sys.modules if name.startswith("kaggle")))
"""


def test_without_upload_the_client_is_not_even_imported(make_tiny):
    """Check that make submit by itself loads nothing of Kaggle's, though the YAML names it."""
    tiny = make_tiny()
    tiny.configure(kaggle=SLUG)
    tiny.folds()
    tiny.fake_run("a")
    command = [sys.executable, "-c", SUBMITTING, str(tiny.root)]
    done = subprocess.run(command, env=importing(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "entered as number 1" in done.stdout
