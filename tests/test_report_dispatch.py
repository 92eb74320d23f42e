"""Every estimator has one kind of picture and one kind of page, whatever methods it shares."""

from __future__ import annotations

import pytest

import tenkai as tk
from tenkai import estimators, report
from tenkai.report.findings import gather

CLASSES = ("NeuralODE", "NeuralSDE", *estimators._LATER)


@pytest.mark.parametrize("name", CLASSES)
def test_pictures_and_pages_are_unambiguous(name: str) -> None:
    kind = getattr(tk, name)
    drawn, told = report.plot.dispatch(kind), gather.dispatch(kind)
    assert drawn is not report.plot.dispatch(object)
    assert told is not gather.dispatch(object) or name == "FlowVAE"
