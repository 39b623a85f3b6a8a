"""A paper's table as Markdown: ours beside the paper's, and whether the signs of the effects agree."""

import pytest

from experiments.cli import run
from experiments.table import Measured, markdown
from experiments.variants import PaperTable, Row

REFERENCE = Row(name="gap", title="GAP", paper=30.0)
TABLE = PaperTable(
    name="pooling",
    title="Pooling",
    recipe="contrawarping_expr",
    rows=(REFERENCE,),
    measure="S_EXPR",
    beside="F1 (%)",
    remark="Small images.",
)


def line_of(row, scores, reference=(0.30, 0.31, 0.32)):
    measured = [Measured(row=REFERENCE, scores=reference), Measured(row=row, scores=scores)]
    return next(line for line in markdown(TABLE, measured, seeds=3).splitlines() if line.startswith(f"| {row.title} |"))


@pytest.mark.parametrize(
    ("scores", "paper", "expected"),
    [
        ((0.40, 0.41, 0.42), 35.0, "| +0.100 ± 0.000 | 35 | +5 | agrees |"),
        ((0.20, 0.21, 0.22), 35.0, "| -0.100 ± 0.000 | 35 | +5 | **disagrees** |"),
        ((0.20, 0.41, 0.32), 35.0, "| +0.000 ± 0.058 | 35 | +5 | unclear |"),
        ((0.30, 0.31, 0.32), 35.0, "| +0.000 ± 0.000 | 35 | +5 | unclear |"),
        ((0.40, 0.41, 0.42), None, "| +0.100 ± 0.000 |  |  |  |"),
    ],
)
def test_the_sign_of_an_effect_is_compared(scores, paper, expected):
    assert line_of(Row(name="srp", title="SRP", paper=paper), scores).endswith(expected)


def test_a_claim_without_a_figure_has_a_sign():
    row = Row(name="srp", title="SRP", claimed="better")
    assert line_of(row, (0.20, 0.21, 0.22)).endswith("|  | better | **disagrees** |")


def test_a_row_that_needs_other_data_says_so():
    row = Row(name="ms1m", title="MS1M", paper=27.7, small=None)
    assert line_of(row, ()) == "| MS1M | not run: needs other data | | 27.7 | -2.3 | |"


def test_the_page_names_its_command_its_reference_and_its_remark():
    text = markdown(TABLE, [Measured(row=REFERENCE, scores=(0.3, 0.5))], seeds=2)
    assert text.startswith("# Pooling\n")
    assert "`abaw table pooling --seeds 2` at commit" in text
    assert "| GAP | 0.400 ± 0.141 | | 30 | | |" in text
    assert "the row *GAP*" in text
    assert text.endswith("Small images.\n")


def test_a_table_that_needs_other_data_says_what_to_run(tmp_path, capsys):
    assert run(["table", "affectnet7", "--runs", str(tmp_path)]) == 1
    told = "no row that the embedded faces serve; run its rows, such as `abaw run mae_face_affectnet7-"
    assert told in capsys.readouterr().err
