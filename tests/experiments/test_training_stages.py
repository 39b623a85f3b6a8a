"""Weights of classes and action units from the labels that a training sees (MAE-Face eq. 2 and 3)."""

import polars as pl
import pytest

from abaw.data.frames import SCHEMA
from abaw.systems.multitask import MultiTask
from abaw.tracks import AU, EXPR
from experiments.training_stages import weighted


def labels(classes, units):
    """Frames with these classes and active units; None where not annotated."""
    active = [None if one is None else [int(unit in one) for unit in AU.columns] for one in units]
    types = {"expression": pl.Int16, "au": pl.Array(pl.Int8, len(AU.columns))}
    return pl.DataFrame({"expression": classes, "au": active}, schema=types)


def test_the_types_are_those_of_the_frame_table():
    assert labels([0], [("AU1",)]).to_arrow().schema.field("expression").type == SCHEMA.field("expression").type


def test_what_is_rare_weighs_more_and_the_mean_is_one():
    frames = labels([0, 0, 0, *range(1, 8), None], [AU.columns, *9 * [AU.columns[1:]], None])
    system = weighted(MultiTask(track="mtl"), frames, power=1.0, active=False)
    assert system.expression_weight == pytest.approx([x / (1 / 3 + 7) * 8 for x in (1 / 3, *7 * [1])], abs=1e-4)
    assert system.au_weight == pytest.approx([x / 21 * 12 for x in (10, *11 * [1])], abs=1e-4)
    flat = weighted(MultiTask(track="mtl"), frames, power=0.0, active=False)
    assert (set(flat.expression_weight), set(flat.au_weight)) == ({1.0}, {1.0})


def test_what_never_occurs_takes_no_weight_from_the_rest():
    frames = labels([0, 0, 0, 1], 4 * [AU.columns[:6]])
    system = weighted(MultiTask(track="mtl"), frames, power=1.0, active=False)
    assert system.expression_weight == (0.5, 1.5, *6 * [1.0])
    assert system.au_weight == (*12 * [1.0],)
    nothing = weighted(MultiTask(track="expr"), labels([None], [None]), power=1.0, active=False)
    assert nothing.expression_weight == (*len(EXPR.columns) * [1.0],)


def test_active_frames_weigh_instead_of_units():
    frames = labels(4 * [0], [AU.columns[:1], *3 * [AU.columns[1:2]]])
    system = weighted(MultiTask(track="au"), frames, power=1.0, active=True)
    assert system.au_active_weight == pytest.approx((3.0, 0.3333, *10 * [10.0]), abs=1e-4)
    assert system.au_weight == ()


def test_weights_that_were_given_stay():
    given = MultiTask(track="expr", expression_weight=tuple(range(1, 9)))
    assert weighted(given, labels([0], [None]), power=1.0, active=False) == given
