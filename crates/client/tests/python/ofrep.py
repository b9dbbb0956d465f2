"""Asks a License Client through OpenFeature's own OFREP provider.

    ofrep.py LICENSE_CLIENT_URL
"""

import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider

api.set_provider_and_wait(OFREPProvider(sys.argv[1], timeout=5.0))
client = api.get_client()
for key in ("module.map_view", "module.alarm_advanced", "module.live_view", "module.nope"):
    details = client.get_boolean_details(key, False)
    error = details.error_code and details.error_code.value
    why = details.flag_metadata.get("reason")
    print(key, details.value, details.reason, details.variant, why, error)
print("limit.cameras", client.get_integer_value("limit.cameras", 0))
