"""The paper's model, as sections 3.1 to 3.4 and appendix A.1 state it; every equation is found by its number."""
