"""Pictures to contents and motion codes, and back."""
