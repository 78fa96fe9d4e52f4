"""Colours of all charts, those of Okabe & Ito, which colour-blind readers can tell apart."""

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7F7F7F", "#000000")
