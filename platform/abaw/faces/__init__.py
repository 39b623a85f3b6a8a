"""The embedded data set: a CC0 parametric head whose people act out labelled videos."""
