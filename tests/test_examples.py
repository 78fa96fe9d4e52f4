"""The examples in the docstrings of what ``accelsim`` offers run, and print what they say."""

import doctest
import inspect as inspection
from pathlib import Path

import pytest

import accelsim
from accelsim import loading, making, showing

MODULES = (accelsim, loading, making, showing)
NAMES = {"accelsim": accelsim}


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(recurse=True, exclude_empty=True)
    return [test for module in MODULES for test in finder.find(module, globs=NAMES) if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_prints_what_it_says(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize("name", [name for name in accelsim.__all__ if name[0].islower()])
def test_every_function_says_what_it_takes_gives_and_raises(name: str) -> None:
    function = getattr(accelsim, name)
    text = inspection.getdoc(function) or ""
    assert text.partition("\n")[0].endswith("."), name
    raises = name in {"ratios", "verdicts"} or "InputError" in text
    assert raises, f"{name}: says nothing of what it raises"


def test_what_is_offered_is_there_and_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    for name in accelsim.__all__:
        assert hasattr(accelsim, name), name
        if name[0].islower():
            assert name in page, f"{name} is missing in docs/python.md"


def test_the_face_costs_nothing() -> None:
    """What importing accelsim may not import: the libraries that take time."""
    import subprocess
    import sys

    program = "import sys, accelsim; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"numpy", "pandas", "pydantic", "matplotlib", "scipy", "rich"} & set(done.stdout.split())
