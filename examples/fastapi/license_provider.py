"""An OpenFeature provider that decides in-process.

    api.set_provider_and_wait(LicenseProvider("http://license-client:8010"))
    api.get_client().get_boolean_value("module.map_view", False)

`set_provider_and_wait` does not wait for the License Client. With `set_provider`, core
features would be unavailable for a moment.

Python 3.11, openfeature-sdk 0.10.
"""

from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, FlagNotFoundError, ProviderNotReadyError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

from license_gate import LicenseGate

LIMIT = "limit."


class LicenseProvider(AbstractProvider):
    """Takes the same options as `LicenseGate`."""

    def __init__(self, license_client, **options):
        super().__init__()
        self.gate = LicenseGate(license_client, on_event=self._emit, **options)

    def get_metadata(self):
        return Metadata(name="License Client")

    def initialize(self, evaluation_context):
        self.gate.start()

    def shutdown(self):
        self.gate.stop()

    def _emit(self, event, why):
        if event == "lost":
            self.emit_provider_stale(ProviderEventDetails(message=why, error_code=ErrorCode.GENERAL))
        elif event == "found":
            self.emit_provider_ready(ProviderEventDetails())
        else:
            self.emit_provider_configuration_changed(ProviderEventDetails())

    def _features(self):
        state = self.gate.state()
        return state.features if state else {}

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        decision = self.gate.check(flag_key)
        state = self.gate.state()
        if state is None and not decision.available:
            raise ProviderNotReadyError("there has been no contact with the License Client yet")
        if state and flag_key not in state.features:
            if flag_key.startswith(LIMIT):
                raise TypeMismatchError(f"'{flag_key}' is a number")
            raise FlagNotFoundError(f"there is no feature '{flag_key}'")
        standing = {"standing": state.standing} if state else {}
        return FlagResolutionDetails(
            value=decision.available,
            reason=Reason.STATIC,
            variant="on" if decision.available else "off",
            flag_metadata={"reason": decision.reason, **standing},
        )

    def resolve_integer_details(self, flag_key, default_value, evaluation_context=None):
        """A limit; -1 means no limit."""
        state = self.gate.state()
        if state is None:
            raise ProviderNotReadyError("there has been no contact with the License Client yet")
        if flag_key in state.features:
            raise TypeMismatchError(f"'{flag_key}' is a boolean")
        resource = flag_key.removeprefix(LIMIT)
        if not flag_key.startswith(LIMIT) or resource not in state.limits:
            raise FlagNotFoundError(f"there is no limit '{flag_key}'")
        limit = state.limits[resource]
        return FlagResolutionDetails(value=-1 if limit is None else limit, reason=Reason.STATIC)

    def resolve_float_details(self, flag_key, default_value, evaluation_context=None):
        details = self.resolve_integer_details(flag_key, 0, evaluation_context)
        return FlagResolutionDetails(value=float(details.value), reason=details.reason)

    def resolve_string_details(self, flag_key, default_value, evaluation_context=None):
        raise TypeMismatchError("features are booleans, and limits integers")

    def resolve_object_details(self, flag_key, default_value, evaluation_context=None):
        raise TypeMismatchError("features are booleans, and limits integers")
