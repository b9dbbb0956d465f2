-- Checks whether every service reads a path in the same way. HAProxy and Apache httpd match a
-- request by its path and pass on the path unchanged, so both must refuse ambiguous paths. Their
-- license.lua loads this file.
--
-- The time is linear in the length of the path, which is limited.

local MAX_PATH_BYTES = 2048

-- Control characters that are escaped more than once, and non-standard escapes.
local CONTROLS = { "%%0[09ad]", "%%u0000", "%%u002[ef]", "%%u005c" }
-- Escapes of hexadecimal digits after a percent sign: decoding them creates another escape.
local DIGITS = { "%%%x?%%3%d", "%%%x?%%[46][1-6]" }
-- Overlong UTF-8 of NUL, '.', '/' and '\'.
local OVERLONG = { "%%c0%%80", "%%c0%%a[ef]", "%%c1%%9c", "%%e0%%8[01]", "%%f[08c]%%80" }

local function contains_any(text, patterns)
    for _, pattern in ipairs(patterns) do
        if text:find(pattern) then
            return true
        end
    end
    return false
end

-- Unescapes a percent sign that is escaped any number of times: '%25252e' becomes '%2e'.
local function unescape_percent_signs(text)
    return (text:gsub("%%([25]*)", function(run)
        local start = 1
        while run:sub(start, start + 1) == "25" do
            start = start + 2
        end
        return "%" .. run:sub(start)
    end))
end

-- Whether a name consists only of dots, or of two dots and bytes that a decoder may drop.
local function is_dot_segment(name)
    if name:find("^%.+$") then
        return true
    end
    local kept = name:gsub("%%[0189a-f]%x", ""):gsub("%%20", ""):gsub("%%7f", "")
    return kept == ".."
end

local M = {}

-- The status with which to refuse `path` (400 or 414), or nil. The query is not part of the path.
function M.refusal(path)
    if #path > MAX_PATH_BYTES then
        return 414
    end
    -- Some services read the name after two slashes as a host.
    if not path:find("^/") or path:find("^//") then
        return 400
    end
    -- Services and gateways read an incomplete escape in different ways, or refuse it.
    if path:gsub("%%%x%x", ""):find("%", 1, true) then
        return 400
    end
    -- Non-ASCII bytes must be escaped.
    if path:find("[^\x21-\x7e]") or path:find("[#\\]") then
        return 400
    end
    local text = path:lower()
    if text:find("%%5c") or text:find("%%[01]%x") or text:find("%%7f") or text:find("^/%%2f") then
        return 400
    end
    text = unescape_percent_signs(text)
    if contains_any(text, CONTROLS) or contains_any(text, DIGITS) or contains_any(text, OVERLONG) then
        return 400
    end
    text = text:gsub("%%2f", "/"):gsub("%%5c", "/"):gsub("%%2e", ".")
    text = text:gsub("%%3[bf]", ";"):gsub("%%23", ";")
    for segment in text:gmatch("[^/]+") do
        if is_dot_segment(segment:match("^[^;]*")) then
            return 400
        end
    end
    return nil
end

return M
