"""Deployments that nobody needs any more are taken off the endpoint, one at a time."""

import logging

import msgspec

from modeldrop.domain.endpoint import CARRIER
from modeldrop.domain.model_head import ModelHead, Retired, version_to_retire
from modeldrop.errors import Refused
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)


def tidy_endpoint(services: Services, head: Stored[ModelHead]) -> bool:
    """One step; False if there is nothing to do now."""
    retiring = head.value.retiring
    if retiring is not None:
        operation = services.model_server.operation(retiring.operation)
        if operation is not None and not operation.done:
            return False
        services.registry.commit_about(head, msgspec.structs.replace(head.value, retiring=None))
        return True
    endpoint = services.model_server.observe(head.value.model)
    version = version_to_retire(head.value, endpoint, services.clock()) if endpoint else None
    if version is not None and not is_of_our_making(services, head.value.model, version):
        log.warning(
            "%s: %s is behind the endpoint and not of the registry: it is left alone", head.value.model, version
        )
        version = None
    if endpoint is None or version is None:
        warm = endpoint is not None and len(endpoint.deployed) > 1
        if not warm and (head.value.untidy_until is None or services.clock() >= head.value.untidy_until):
            services.registry.commit_about(head, msgspec.structs.replace(head.value, untidy=False))
        return False
    try:
        operation = services.model_server.undeploy(head.value.model, version)
    except Refused as error:
        log.warning("%s %s cannot be taken off its endpoint: %s", head.value.model, version, error)
        return False
    if operation is None:
        return False
    retired = Retired(version, operation.name)
    services.registry.commit_about(head, msgspec.structs.replace(head.value, retiring=retired))
    return operation.done


def is_of_our_making(services: Services, model: str, version: str) -> bool:
    """Whether the deployment may be taken off; a carrier goes by its own name where its pointer was deleted."""
    return version == CARRIER or services.registry.version(model, version) is not None
