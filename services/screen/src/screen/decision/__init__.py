"""From what was observed and what is remembered to a verdict and its event. Pure: history is judged anew by it."""
