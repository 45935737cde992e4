"""The audit trail of what is asked of the control plane."""
