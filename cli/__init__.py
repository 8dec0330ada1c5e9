"""The `bcd` command."""
