"""For apps: report predictions and what became of them. Needs the standard library and msgspec, nothing else.

>>> from modeldrop.client import PredictionLogger
>>> with PredictionLogger("http://127.0.0.1:8080/v1/projects/p/topics/predictions:publish", "fraud", "v3") as logger:
...     logger.dropped
0
"""

from modeldrop.client.prediction_logger import PredictionLogger
from modeldrop.client.transports import Connection, Transport, to_topic, to_url

__all__ = ["Connection", "PredictionLogger", "Transport", "to_topic", "to_url"]
