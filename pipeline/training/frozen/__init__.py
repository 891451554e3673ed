"""Features of a frozen backbone, made once, and heads that are trained on them."""
