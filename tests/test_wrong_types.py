"""What Python may hand over by mistake is refused in one line, as the command line's words are."""

import pandas as pd
import pytest

import accelsim
from accelsim.errors import InputError

LONG = "x" * 5000


@pytest.mark.parametrize(
    ("call", "words"),
    [
        *[(lambda f=f: getattr(accelsim, f)(LONG), "File name too long") for f in ("load_model", "load_workload")],
        *[(lambda f=f: getattr(accelsim, f)("x" * 256), "File name too long") for f in ("load_hardware", "inspect")],
        (lambda: accelsim.load_workload("\ud800"), "expected a path of characters"),
        *[(lambda v=v: accelsim.load_hardware("spatial-16x16", v), "expected a list of") for v in (None, 3, [3])],
        *[
            (lambda v=v: accelsim.load_hardware("spatial-16x16", (), v), "expected classes of accelsim.Machine")
            for v in (None, 3, [3], [int], "x", [accelsim.load_hardware("spatial-16x16")])
        ],
        *[(lambda v=v: accelsim.ratios(v), "expected those of one machine at least") for v in (None, [], [3], "x")],
        *[
            (lambda v=v: accelsim.verdicts(v), "expected what band returned")
            for v in (None, [], pd.DataFrame(), pd.DataFrame({"a": [1]}))
        ],
        *[
            (
                lambda v=v: accelsim.validate("resnet20-cifar10", ["spatial-16x16"], tolerance_points=v),
                "expected 0 to 100 points",
            )
            for v in ("1", [1], True, float("nan"), -1)
        ],
        *[(lambda v=v: accelsim.sample_images(v, "x"), "model ") for v in (None, 3, b"x")],
    ],
)
def test_what_is_no_argument_is_refused(call, words):
    with pytest.raises(InputError, match=words) as refused:
        call()
    assert len(str(refused.value)) < 300
