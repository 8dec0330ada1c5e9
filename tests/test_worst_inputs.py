"""Hostile files take time and memory in proportion to their bytes, whatever they state. tests/worst_inputs.py: 1 MB."""

import pytest
import worst_inputs


@pytest.mark.parametrize("name", [name for name in worst_inputs.INPUTS if name not in worst_inputs.SLOW])
def test_a_hostile_file_of_200_kB_is_read_described_verified_and_repaired_in_seconds(name, tmp_path, monkeypatch):
    monkeypatch.setattr(worst_inputs, "SIZE", 200_000)
    (tmp_path / "x.bcd").write_bytes(worst_inputs.INPUTS[name]())
    found = worst_inputs.measure(tmp_path / "x.bcd")
    for what in ("open", "info", "verify", "repair"):
        assert found[what] < 3, f"{what}: {found[what]:.2f} s of processor time"
    assert found["with tables"] < 10, f"verify with tables: {found['with tables']:.2f} s of processor time"
