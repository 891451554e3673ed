"""The program of an exported folder: `python predict.py PICTURES OUT.csv`, without torch."""

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from pipeline.artifacts.files import write_text
from pipeline.deploy.answers import answers_table, check_share, checked_out
from pipeline.deploy.exported import open_exported
from pipeline.deploy.pictures import find_pictures, refuse_all_broken
from pipeline.errors import PodiumError


def main(folder: Path, arguments: list[str] | None = None) -> int:
    """Answer the pictures that the command line names by the exported `folder`; return the exit
    status: 0, or 2 where anything was refused, in one line."""
    asked = _parser().parse_args(arguments)
    try:
        print(answer(folder, asked.pictures, asked.out, asked.confidence, asked.threads))
    except PodiumError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or asked.out}: {error.strerror}; mend it", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


def answer(
    folder: Path, pictures: str, out: str, confidence: float | None = None, threads: int = 0
) -> str:
    """Write the table of answers to the picture or folder `pictures`; return what to say of it."""
    if confidence is not None:
        check_share(confidence, "--confidence")
    if threads < 0:
        raise PodiumError(f"--threads: {threads} is below 0; give a number, or 0 for all cores")
    found = find_pictures(Path(os.path.expanduser(pictures)), "PICTURES")
    path = checked_out(Path(os.path.expanduser(out)))
    exported = open_exported(folder, threads)
    with tqdm(total=len(found), desc="predicting", unit="img", disable=None, leave=False) as bar:
        answers = exported.answer(found.paths, confidence, bar.update)
    refuse_all_broken(found.paths, answers.notes, "PICTURES")
    write_text(path, answers_table(found.names, answers, exported.classes, exported.separator))
    unsure = int((~answers.given).sum())
    said = f"{path}: {len(found) - len(answers.notes):,} of {len(found):,} pictures answered"
    said += f", {unsure:,} of them by don't know" if unsure else ""
    return said + (
        f"; {len(answers.notes):,} could not be used, their notes say why" if answers.notes else ""
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="predict.py", description="Answers for pictures.")
    parser.add_argument("pictures", help="a folder of pictures, or one picture")
    parser.add_argument("out", help="the CSV to write")
    parser.add_argument("--confidence", type=float, help="below it: don't know")
    parser.add_argument("--threads", type=int, default=0, help="cores to use; 0: all")
    return parser
