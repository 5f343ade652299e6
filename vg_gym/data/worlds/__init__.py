"""Built-in worlds: data sets whose scenes are drawn by code."""
