"""Hostile files take time and memory in proportion to their bytes, whatever they state. tests/worst_inputs.py: 1 MB."""

import pytest
import worst_inputs


@pytest.mark.parametrize("name", worst_inputs.INPUTS)
def test_a_hostile_file_of_200_kB_is_read_described_and_verified_in_seconds(name, tmp_path, monkeypatch):
    monkeypatch.setattr(worst_inputs, "SIZE", 200_000)
    (tmp_path / "x.bcd").write_bytes(worst_inputs.INPUTS[name]())
    found = worst_inputs.measure(tmp_path / "x.bcd")
    for what in ("open", "info", "verify"):
        assert found[what] < 3, f"{what}: {found[what]:.2f} s of processor time"
