"""The dashboard: pages made on the server from what the JSON API answers."""
