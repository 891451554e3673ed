"""The keys of a competition on Kaggle: its name there, and the size of the public part."""

import pytest

from pipeline.config.competition import load_competition
from pipeline.errors import PodiumError


def test_the_keys_are_read(make_tiny):
    """Check what is given, and that nothing is the default."""
    tiny = make_tiny()
    plain = load_competition(tiny.project, "tiny")
    assert plain.kaggle is plain.public_rows is plain.public_share is None
    tiny.configure(kaggle="plant-pathology-2021-fgvc8", public_rows=300)
    found = load_competition(tiny.project, "tiny")
    assert (found.kaggle, found.public_rows) == ("plant-pathology-2021-fgvc8", 300)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"kaggle": "https://www.kaggle.com/c/x"}, "is not the last part of a competition's addr"),
        ({"kaggle": "Plant Pathology"}, "'Plant Pathology' is not the last part"),
        ({"kaggle": ""}, "'' is not the last part"),
        ({"public_rows": 0}, "public_rows"),
        ({"public_share": 1.5}, "public_share"),
        ({"public_share": 0}, "public_share"),
        ({"public_rows": 3, "public_share": 0.5}, "say the same; give one of them"),
        ({"kagle": "x"}, "kaggle"),
    ],
)
def test_what_is_refused(make_tiny, keys, words):
    """Check that an address, an impossible size and two sizes are refused with the rule."""
    tiny = make_tiny()
    tiny.configure(**keys)
    with pytest.raises(PodiumError, match=words):
        load_competition(tiny.project, "tiny")
