"""Re-animated portraits: photographs moved by a fitted 3D head, with the exact flow, visibility and mouth mask."""
