"""From measured rows to report.json, report.md, report.html and rows.csv."""
