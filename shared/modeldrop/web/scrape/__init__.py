"""What Prometheus is told of the control plane: which metrics there are, what is read for them, and the samples."""
