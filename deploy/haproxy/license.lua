-- Asks the License Client before HAProxy passes a request on. haproxy.cfg beside this file
-- loads it, and says which requests are asked about.
--
-- HAProxy goes on with a request when a script fails. So this file only ever says that a
-- request may pass, and haproxy.cfg refuses every request of which it does not say so.

local plain_path = require("plain_path")

-- The listener 'license-client' of haproxy.cfg, which bounds connecting, waiting and names.
local LISTENER = "abns@license-client"
local QUESTION = "http://license-client/api/license/authorize?unreadable=400"
-- In milliseconds; longer than the listener's own timeouts together.
local TIMEOUT = 4500

-- The License Client's answers, by status.
local VERDICTS = { [200] = "allowed", [204] = "allowed", [400] = "unreadable", [403] = "refused" }

-- 'plain' for a path that every service reads in the same way.
core.register_converters("plain_path", function(path)
    if plain_path.refusal(path) == nil then
        return "plain"
    end
    return "odd"
end)

-- Sets txn.license to 'allowed', 'refused', 'unreadable' or 'unanswered', and
-- txn.license_reason. Asks about txn.license_feature, or about the path where there is none.
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
    -- Every answer of the License Client has a reason; another program's has none.
    if not reason or not reason:find("^[a-z_]+$") then
        return
    end
    txn:set_var("txn.license_reason", reason)
    txn:set_var("txn.license", verdict)
end, 0)
