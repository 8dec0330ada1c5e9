"""Motion as a language: a GPT-2 over motion codes that invents motion for a face (section A.2)."""
