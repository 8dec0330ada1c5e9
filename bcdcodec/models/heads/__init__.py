"""Parts of the `heads` model: reference image coding, motion layers, alignment, decoder."""
