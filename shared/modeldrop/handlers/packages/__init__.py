"""Uploads: read, judged, registered, and the decision written beside them."""
