-- Begins both scripts.
-- Where the newest id that the stream has had is not below the one that would be next, nothing can be added:
-- somebody else has written an entry whose id is far ahead of the clock. Answers with that id and the number of the
-- last entry of ours, behind which it is to be set back; nothing if it is not so, or if it may not be asked.
local function blocked(stream, last, next)
  local info = redis.pcall('XINFO', 'STREAM', stream)
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' and tonumber(string.match(info[at + 1], '^%d+')) >= next then
      return redis.error_reply('BLOCKED ' .. info[at + 1] .. ' ' .. last)
    end
  end
end

