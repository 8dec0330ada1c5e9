"""Rate control of a stream, and the budget of the wire."""

import numpy as np
import pytest

from bcdcodec.stream.rate import (
    LEAST_KBPS,
    MOST_CREDIT,
    MOST_DEBT,
    MOST_KBPS,
    REFERENCE_KBPS,
    LiveRateControl,
    WireBudget,
)

PACKET_SECONDS = 3 / 25


def kbps_of(control, bytes_at, packets=40, **options):
    """Kbit/s of the last second of packets that take `bytes_at(lambda)`, as the control asks for."""
    sizes = []
    for _ in range(packets):
        sizes.append(round(bytes_at(control.lambda_)))
        control.sent(sizes[-1], **options)
    return 8 / 1000 * np.mean(sizes[-8:]) / PACKET_SECONDS


def test_without_a_rate_motion_has_the_models_own_lambda_and_never_takes_more_than_three_kilobits_a_second():
    control = LiveRateControl(None, 0.25, PACKET_SECONDS)
    assert kbps_of(control, lambda lambda_: 30) == pytest.approx(2)
    assert control.lambda_ == 0.25
    assert MOST_KBPS == 3
    assert kbps_of(control, lambda lambda_: 25 / lambda_**0.5) == pytest.approx(3, rel=0.03)
    assert control.lambda_ > 0.25


def test_motion_gives_way_to_what_the_wire_leaves_down_to_a_least_rate():
    control = LiveRateControl(2.0, 0.25, PACKET_SECONDS)
    assert kbps_of(control, lambda lambda_: 15 / lambda_**0.5, most_kbps=1.5) == pytest.approx(1.5, rel=0.03)
    assert kbps_of(control, lambda lambda_: 15 / lambda_**0.5, most_kbps=-2) == pytest.approx(LEAST_KBPS, rel=0.03)


def test_the_budget_leaves_motion_what_sound_and_headers_do_not_take_and_references_what_was_saved():
    budget = WireBudget(9.5, PACKET_SECONDS)
    budget.sent(2140, 2030, start=2000)
    for _ in range(199):
        budget.sent(140, 30)  # 9.33 kbit/s, of which 2 are motion
    fixed = 8 * 110 / PACKET_SECONDS / 1000
    assert budget.motion_kbps(False) == pytest.approx(9.5 - fixed)
    assert budget.motion_kbps(True) == pytest.approx(9.5 - fixed - REFERENCE_KBPS)
    assert budget.room() - MOST_DEBT == pytest.approx(200 * (9500 / 8 * PACKET_SECONDS - 140))
    budget.sent(140 + 1400, 1430)
    assert 0 < budget.room() < MOST_DEBT
    assert budget.motion_kbps(False) == pytest.approx(9.5 - fixed - REFERENCE_KBPS)
    for _ in range(200):
        budget.sent(60, 30)
    assert budget.room() == MOST_CREDIT + MOST_DEBT
    assert WireBudget(None, PACKET_SECONDS).room() == float("inf")
