"""The paper's second experiment (section 4.5, figure 5, table A4) measured against exact cross-driven truth."""
