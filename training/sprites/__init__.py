"""The Sprites dataset (the paper's second experiment), rendered from its sheets, and training on it."""
