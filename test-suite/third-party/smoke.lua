-- Calls of C functions of every library, coroutines, metamethods, errors and the collector, many times over.
local sum = 0
local function add(n) sum = (sum * 31 + n) % 1000003 end

local Point = {}
Point.__index = Point
Point.__add = function(a, b) return setmetatable({ x = a.x + b.x }, Point) end
Point.__lt = function(a, b) return a.x < b.x end
Point.__call = function(self, n) return self.x + n end
Point.__close = function(self) add(self.x) end
Point.__gc = function() end

for round = 1, 300 do
    local words = {}
    for word in ("the quick brown fox jumps over the lazy dog"):gmatch("%a+") do words[#words + 1] = word end
    table.sort(words, function(a, b) return a:reverse() < b:reverse() end)
    add(#table.concat(words, ","):gsub("o", string.upper))
    add(string.unpack("<i4", string.pack("<i4", round)))
    add(math.floor(math.sin(round) * 1000))
    add(utf8.len("grüße" .. round))
    local generator = coroutine.wrap(function(n)
        for at = 1, n do coroutine.yield(at) end
        return 0
    end)
    for _ = 1, 5 do add(generator(5)) end
    local ok, why = pcall(error, { code = round })
    add(ok and 1 or why.code)
    add(select("#", xpcall(function() return nil + 1 end, debug.traceback)))
    local a, b = setmetatable({ x = round }, Point), setmetatable({ x = 3 }, Point)
    add((a + b)(4))
    add(a < b and 1 or 0)
    do local closed <close> = a end
    add(load("return ... * 2")(round))
    add(#string.format("%5.2f %q %x", round / 7, "text", round))
    if round % 50 == 0 then collectgarbage() end
end
print("smoke", sum)
