"""The whole stack on real servers, under load, while things go wrong; and what an outside reader finds afterwards."""
