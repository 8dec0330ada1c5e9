"""The `faces` model: a picture as reference, base motion that means the same for everyone, geometry, enhancement."""
