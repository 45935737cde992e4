"""Who calls the API, and what is written down of it.

``identify`` says who sends a request; ``audited`` carries a changing call out between its entries in the audit trail;
``refused`` writes down one that was turned away.
"""

from modeldrop.web.callers.audited import audited, refused
from modeldrop.web.callers.caller import Caller
from modeldrop.web.callers.identity import identify

__all__ = ["Caller", "audited", "identify", "refused"]
