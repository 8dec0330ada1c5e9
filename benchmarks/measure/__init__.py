"""Measures of decoded video against its source; one concept a file."""
