-- Asks the License Client before Apache httpd passes a request on. license.conf beside this
-- file says when. Apache answers 500 when a script fails, so nothing passes then.

local socket = require("socket")
local plain_path = require("plain_path")

local QUESTION = "/api/license/authorize?unreadable=400"
-- In seconds.
local CONNECT_TIMEOUT = 1
local ANSWER_TIMEOUT = 2
-- After a question without an answer in time, one request at a time asks; the others are
-- answered 503 immediately, so that they do not occupy all of Apache's threads.
local RETRY_INTERVAL = 3
local RETRY_KEY = "license_client_retry_at"
local MAX_ANSWER_BYTES = 16384

-- The target of the request as the visitor has sent it, without a scheme and a host.
local function target(r)
    local text = r.unparsed_uri or ""
    return text:match("^%a[%w+.-]*://[^/?#]*(.*)$") or text
end

local function answer(r, status, detail, reason)
    local body = '{"detail": "' .. detail .. '"}'
    if reason then
        body = '{"detail": "' .. detail .. '", "reason": "' .. reason .. '"}'
        r.err_headers_out["X-License-Reason"] = reason
    end
    -- license.conf sets the content type where this is set.
    r.subprocess_env["license_answer"] = "1"
    r:custom_response(status, body)
    return status
end

local function unanswered(r)
    r.err_headers_out["Retry-After"] = "5"
    return answer(r, 503, "The license cannot be checked right now")
end

-- The answer to a question, as far as it has come; nil and true after a timeout.
local function ask(address, question)
    local host, port = address:match("^(.*):(%d+)$")
    if not host then
        return nil
    end
    local connection = socket.tcp()
    connection:settimeout(CONNECT_TIMEOUT, "t")
    local ok, failure = connection:connect(host:gsub("[%[%]]", ""), tonumber(port))
    local text
    if ok then
        connection:settimeout(ANSWER_TIMEOUT, "t")
        ok, failure = connection:send(question)
    end
    if ok then
        local partial
        -- The License Client closes the connection after its answer.
        text, failure, partial = connection:receive(MAX_ANSWER_BYTES)
        if failure == "closed" then
            text = partial
        end
    end
    connection:close()
    return text, failure == "timeout"
end

-- Which headers of a visitor reach no service: what is said about licensing, and which method
-- or path the request really means. Services that put headers into variables take an
-- underscore for a dash. Where a proxy of yours before Apache sets one of the X-Forwarded
-- headers, take that line out.
local VISITOR_HEADERS = {
    ["http2-settings"] = true,
    ["x-http-method-override"] = true,
    ["x-http-method"] = true,
    ["x-method-override"] = true,
    ["x-original-method"] = true,
    ["x-original-uri"] = true,
    ["x-original-url"] = true,
    ["x-rewrite-uri"] = true,
    ["x-rewrite-url"] = true,
    ["x-forwarded-method"] = true,
    ["x-forwarded-uri"] = true,
    ["x-forwarded-path"] = true,
    ["x-forwarded-prefix"] = true,
}

local function remove_visitor_headers(r)
    for name in pairs(r:headers_in_table()) do
        local plain = name:lower():gsub("_", "-")
        if VISITOR_HEADERS[plain] or plain:find("^x%-license%-") then
            r.headers_in[name] = nil
        end
    end
    -- Apache has joined repeated headers.
    local upgrade = r.headers_in["Upgrade"]
    if upgrade and upgrade:lower() ~= "websocket" then
        r.headers_in["Upgrade"] = nil
    end
end

-- LuaQuickHandler: refuses paths that a service could read as other ones, before Apache
-- decodes them.
function plain_paths(r)
    return plain_path.refusal(target(r):match("^[^?]*")) or apache2.DECLINED
end

-- LuaHookFixups: runs after everything else that may refuse a request, 'Satisfy Any' or not.
function license(r)
    remove_visitor_headers(r)
    local feature = r.subprocess_env["license_feature"]
    if feature == "none" then
        return apache2.DECLINED
    end
    local address = r.subprocess_env["license_client"] or ""
    local host = address:gsub(":%d+$", "")
    local question
    if feature then
        question = "GET " .. QUESTION .. "&feature=" .. feature .. " HTTP/1.1\r\n"
    else
        question = "GET " .. QUESTION .. " HTTP/1.1\r\n"
            .. "X-Original-URI: " .. target(r) .. "\r\n"
            .. "X-Original-Method: " .. r.method .. "\r\n"
    end
    question = question .. "Host: " .. host .. "\r\nConnection: close\r\n\r\n"

    local now = socket.gettime()
    local retry_at = r:ivm_get(RETRY_KEY) or 0
    local is_suspect = retry_at > 0
    -- A clock that was set back does not keep the gate shut.
    if is_suspect and now < retry_at and retry_at - now <= RETRY_INTERVAL then
        return unanswered(r)
    end
    if is_suspect then
        r:ivm_set(RETRY_KEY, now + RETRY_INTERVAL)
    end
    local text, timed_out = ask(address, question)
    if timed_out then
        r:ivm_set(RETRY_KEY, socket.gettime() + RETRY_INTERVAL)
    elseif is_suspect then
        r:ivm_set(RETRY_KEY, 0)
    end

    local head = text and text:match("^(HTTP/1%.[01] %d%d%d.-\r\n)\r\n")
    local status = head and head:sub(10, 12)
    -- Every answer of the License Client has a reason; another program's has none.
    local reason = head and head:lower():match("\r\nx%-license%-reason: *([a-z_]+)\r\n")
    if not reason then
        return unanswered(r)
    elseif status == "200" or status == "204" then
        r.headers_in["X-License-Reason"] = reason
        return apache2.DECLINED
    elseif status == "400" then
        return answer(r, 400, "The request cannot be read", reason)
    elseif status == "403" then
        return answer(r, 403, "This feature is not licensed", reason)
    end
    return unanswered(r)
end
