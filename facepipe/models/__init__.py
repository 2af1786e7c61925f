"""Networks that restore and regress, and the weights that they run with."""
