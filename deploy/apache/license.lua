-- Asks the License Client before Apache httpd passes on a request; license.conf selects the
-- requests. If a script fails, Apache answers 500, so no request passes in that case.

local socket = require("socket")
local plain_path = require("plain_path")

local QUESTION = "/api/license/authorize?unreadable=400"
-- In seconds.
local CONNECT_TIMEOUT = 1
local ANSWER_TIMEOUT = 2
-- After a check has timed out, only one request at a time asks again. The others get 503
-- immediately, so that they do not occupy all of Apache's threads.
local RETRY_INTERVAL = 3
local RETRY_KEY = "license_client_retry_at"
local MAX_ANSWER_BYTES = 16384

-- The request target as sent by the visitor.
local function target(r)
    return r.unparsed_uri or ""
end

-- Whether the host is a name or an address in brackets, with or without a port. A service that combines
-- the host and the path into a URL would otherwise read a part of one as the other. Requests in HTTP/1.0
-- may have no host; services then get the name of the server.
local function is_host(host)
    if host == nil then
        return true
    end
    local name = host:match("^(.+):%d+$") or host
    return name:find("^%[[%x:.]+%]$") ~= nil
        or name:find("^[%w._-]+$") ~= nil and name:find("[^.]") ~= nil
end

local function answer(r, status, detail, reason)
    local body = '{"detail": "' .. detail .. '"}'
    if reason then
        body = '{"detail": "' .. detail .. '", "reason": "' .. reason .. '"}'
        r.err_headers_out["X-License-Reason"] = reason
    end
    -- Tells license.conf to set the content type.
    r.subprocess_env["license_answer"] = "1"
    r:custom_response(status, body)
    return status
end

local function unanswered(r)
    r.err_headers_out["Retry-After"] = "5"
    return answer(r, 503, "The license cannot be checked right now")
end

-- The response received so far; nil and true after a timeout.
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
        -- The License Client closes the connection after its response.
        text, failure, partial = connection:receive(MAX_ANSWER_BYTES)
        if failure == "closed" then
            text = partial
        end
    end
    connection:close()
    return text, failure == "timeout"
end

-- Visitors' headers that are removed (../visitor_headers.txt): statements about licensing, and
-- everything that some services take for the method, the path, a prefix of the path, or the scheme,
-- host or port of the URL. If a proxy of yours in front of Apache sets one of the X-Forwarded headers,
-- remove its name. Apache then adds its own X-Forwarded-For, -Host and -Server.
local VISITOR_HEADERS = {
    "^http2%-settings$",
    "^x%-license%-",
    "%f[%w]script%-name$",
    "%f[%w]path%-info$",
    "%f[%w]path%-translated$",
    "%f[%w]root%-path$",
    "%f[%w]method%-override$",
    "%f[%w]request%-ur[il]$",
    "%f[%w]request%-base$",
    "^x%-original%-",
    "^x%-%a+%-original%-",
    "^x%-http%-method",
    "^x%-rewrite%-",
    "^x%-vhm%-",
    "^x%-forwarded%-.*%f[%w]method$",
    "^x%-forwarded%-.*%f[%w]context$",
    "^x%-forwarded%-.*%f[%w]path$",
    "^x%-forwarded%-.*%f[%w]base%-?path$",
    "^x%-forwarded%-.*%f[%w]path%-?base$",
    "^x%-forwarded%-.*%f[%w]prefix$",
    "^x%-forwarded%-.*%f[%w]ur[il]$",
    "^x%-forwarded%-.*%f[%w]host$",
    "^x%-forwarded%-.*%f[%w]port$",
    "^x%-forwarded%-.*%f[%w]proto$",
    "^x%-forwarded%-.*%f[%w]protocol$",
    "^x%-forwarded%-.*%f[%w]scheme$",
    "^x%-forwarded%-.*%f[%w]server$",
    "^forwarded$",
    "^x%-host$",
    "^x%-scheme$",
    "^x%-url%-scheme$",
    "^x%-http%-host%-override$",
    "^x%-astro%-path$",
    "^x%-base%-path$",
    "^x%-context%-path$",
    "^x%-ingress%-path$",
    "^x%-invoke%-path$",
    "^x%-matched%-path$",
    "^x%-replaced%-path$",
    "^x%-traversal%-path$",
    "^x%-proxycontextpath$",
    "^x%-waws%-unencoded%-url$",
    "^x%-accel%-mapping$",
    "^x%-sendfile%-type$",
}

-- Services that map headers to variables treat an underscore like a dash, and every other
-- character that is neither a letter nor a digit like an underscore.
local function is_removed(name)
    if name:find("[^%w_-]") then
        return true
    end
    local plain = name:lower():gsub("_", "-")
    for _, pattern in ipairs(VISITOR_HEADERS) do
        if plain:find(pattern) then
            return true
        end
    end
    return false
end

local function remove_visitor_headers(r)
    for name in pairs(r:headers_in_table()) do
        if is_removed(name) then
            r.headers_in[name] = nil
        end
    end
    -- Apache joins repeated headers.
    local upgrade = r.headers_in["Upgrade"]
    if upgrade and upgrade:lower() ~= "websocket" then
        r.headers_in["Upgrade"] = nil
    end
    -- Apache removes the headers that Connection names, after X-License-Reason is set.
    local connection = r.headers_in["Connection"]
    if connection then
        r.headers_in["Connection"] = connection:gsub("[^%s,]+", function(name)
            return is_removed(name) and "keep-alive" or name
        end)
    end
end

-- LuaQuickHandler: refuses ambiguous hosts and paths before Apache decodes them. A target that is a
-- whole URL is not a plain path.
function plain_paths(r)
    if not is_host(r.headers_in["Host"]) then
        return 400
    end
    return plain_path.refusal(target(r):match("^[^?]*")) or apache2.DECLINED
end

-- LuaHookFixups: runs after all other access checks, even with 'Satisfy Any'.
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
    -- A clock that was set back must not keep the gate closed.
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
    -- Every response of the License Client has a reason; without one, another program answered.
    local reason = head and head:lower():match("\r\nx%-license%-reason: *([a-z_]+)\r\n")
    if not reason then
        return unanswered(r)
    elseif status == "200" or status == "204" then
        r.headers_in["X-License-Reason"] = reason
        return apache2.DECLINED
    elseif status == "400" then
        return answer(r, 400, "The path or feature of the request is invalid", reason)
    elseif status == "403" then
        return answer(r, 403, "This feature is not licensed", reason)
    end
    return unanswered(r)
end
