"""Files to files: video to `.bcd` and back."""
