"""The model of the paper's section 3: encoder, group VQ, content tokens, diffusion transformer, EDM."""
