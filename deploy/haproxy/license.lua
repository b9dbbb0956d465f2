-- Asks the License Client before HAProxy passes on a request. haproxy.cfg loads this file and
-- selects the requests.
--
-- HAProxy continues with a request if a script fails. Therefore this script only marks
-- requests as allowed, and haproxy.cfg refuses all others.

local plain_path = require("plain_path")

-- The listener 'license-client' of haproxy.cfg, which sets the timeouts and resolves the name.
local LISTENER = "127.0.0.1:983"
local QUESTION = "http://license-client/api/license/authorize?unreadable=400"
-- In milliseconds; longer than the sum of the listener's timeouts.
local TIMEOUT = 4500

-- The License Client's responses by status.
local VERDICTS = { [200] = "allowed", [204] = "allowed", [400] = "unreadable", [403] = "refused" }

-- 'plain' if every service reads the path in the same way.
core.register_converters("plain_path", function(path)
    if plain_path.refusal(path) == nil then
        return "plain"
    end
    return "odd"
end)

-- Sets txn.license to 'allowed', 'refused', 'unreadable' or 'unanswered', and
-- txn.license_reason. Checks txn.license_feature, or the path if no feature is set.
core.register_action("license", { "http-req" }, function(txn)
    txn:set_var("txn.license", "unanswered")
    local url, headers = QUESTION, {}
    local feature = txn:get_var("txn.license_feature")
    if feature then
        url = url .. "&feature=" .. feature
    else
        headers["x-original-uri"] = { txn.f:pathq() }
        headers["x-original-method"] = { txn.f:method() }
    end
    local client = core.httpclient()
    local answer = client:get({ url = url, headers = headers, dst = LISTENER, timeout = TIMEOUT })
    local verdict = answer and VERDICTS[answer.status]
    if not verdict then
        return
    end
    local reason = answer.headers and answer.headers["x-license-reason"]
    reason = reason and reason[0]
    -- Every response of the License Client has a reason; without one, another program answered.
    if not reason or not reason:find("^[a-z_]+$") then
        return
    end
    txn:set_var("txn.license_reason", reason)
    txn:set_var("txn.license", verdict)
end, 0)
