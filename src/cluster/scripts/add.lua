-- Adds an entry to the stream, once, and gives it its numbers: see docs/cluster.md.
-- KEYS: stream, state, this host's newest batch, keys, older keys, hosts, revoked, their ends
-- ARGV: host, batch (0: it is none, and may come twice), the batch before it, events, bytes to keep, most
--       keys, window of keys in ms, kind, user (of events: 'delivered' if their host has delivered them), body; then
--       of events: for each one with a key, its place in the batch and the key
--       of a revocation: from when and until when, the most there may be, 1 if it is told again
local stream, state, newest_batch, keys, older_keys, hosts, revoked, revoked_ends = unpack(KEYS)
local host, batch, batch_before, events, kept, most_keys, window, kind, user, body = unpack(ARGV, 1, 10)
local is_batch = batch ~= '0'

if is_batch then
  local done = tonumber(redis.call('GET', newest_batch) or '0')
  if done >= tonumber(batch) then
    return 0
  end
  if done < tonumber(batch_before) then
    return redis.error_reply('BEHIND Redis has lost the batch that this host added before')
  end
end

-- What is revoked is only ever widened, and what is known need not be told again.
local is_stored, from, ends
if kind == 'revoke' then
  from, ends = ARGV[11], ARGV[12]
  local known = redis.call('HGET', revoked, user)
  local known_from, known_ends = string.match(known or '', '^(%d+) (%d+)$')
  local is_wider = tonumber(from) > tonumber(known_from or '-1') or tonumber(ends) > tonumber(known_ends or '-1')
  if ARGV[14] == '1' and not is_wider then
    return 0
  end
  if known_from and tonumber(known_from) > tonumber(from) then
    from = known_from
  end
  if known_ends and tonumber(known_ends) > tonumber(ends) then
    ends = known_ends
  end
  is_stored = known or redis.call('HLEN', revoked) < tonumber(ARGV[13])
end

-- Who is online over all hosts: only the first that has a customer, and the last, makes an event of it.
local online
if kind == 'online' or kind == 'offline' then
  local change = kind == 'online' and 'SADD' or 'SREM'
  local is_event = redis.call(change, '{shopwire}:here:' .. host, user) == 1
  for _, other in ipairs(redis.call('ZRANGE', hosts, 0, -1)) do
    if other ~= host and redis.call('SISMEMBER', '{shopwire}:here:' .. other, user) == 1 then
      is_event = false
    end
  end
  if not is_event then
    redis.call('SET', newest_batch, batch, 'EX', 86400)
    return 0
  end
  online = math.max(redis.call('HINCRBY', state, 'online', kind == 'online' and 1 or -1), 0)
end

-- Numbers follow the clock, so that they rise even where Redis has forgotten the last one.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HGET', state, 'last')
if not before then
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  before = newest and string.match(newest[1], '^%d+')
end
local first = math.max(tonumber(before or '0') + 1, now * 1024)
if kind == 'reset' then
  first = math.max(first, tonumber(body) + 1)
end
-- Without one everything is lost, or has never been: nobody can be told that all is there.
before = before or string.format('%.0f', first - 1)

-- A key that was used within its window makes its event a repeat, which has no number of its own; but not
-- if it was delivered already.
local repeats, fresh = {}, {}
for at = 11, kind == 'events' and #ARGV or 0, 2 do
  local key = ARGV[at + 1]
  local known = fresh[key] or redis.call('HGET', keys, key) or redis.call('HGET', older_keys, key)
  local is_repeat = known and now - tonumber(known) / 1024 < tonumber(window)
  if is_repeat and user ~= 'delivered' then
    repeats[#repeats + 1] = ARGV[at] .. ':' .. known
  elseif not is_repeat then
    fresh[key] = string.format('%.0f', first + ARGV[at] - #repeats)
  end
end

local last = string.format('%.0f', first + math.max(events - #repeats, 1) - 1)
local size = tonumber(redis.call('HGET', state, 'size') or #body) * 0.99 + (#body + 100) * 0.01
local entry = {
  'XADD', stream, 'MAXLEN', '~', math.max(16, math.floor(kept / size)), last .. '-0',
  'h', host, 'n', batch, 'p', before, 'f', string.format('%.0f', first), 'k', kind, 'b', body,
}
if #repeats > 0 then
  entry[#entry + 1] = 'r'
  entry[#entry + 1] = table.concat(repeats, ' ')
end
if online then
  entry[#entry + 1] = 'o'
  entry[#entry + 1] = online
end
if is_stored then
  entry[#entry + 1] = 's'
  entry[#entry + 1] = 1
end
-- If Redis refuses this, nothing of it counts as done: what follows is only true of an entry that is there.
local added = redis.pcall(unpack(entry))
if type(added) == 'table' and added.err then
  return blocked(stream, before, tonumber(last)) or added
end
redis.call('HSET', state, 'last', last, 'size', size)
if is_batch then
  redis.call('SET', newest_batch, batch, 'EX', 86400)
end
if is_stored then
  redis.call('HSET', revoked, user, from .. ' ' .. ends)
  redis.call('ZADD', revoked_ends, ends, user)
end

if next(fresh) then
  local since = tonumber(redis.call('HGET', state, 'keys') or '0')
  if now - since >= tonumber(window) or redis.call('HLEN', keys) >= tonumber(most_keys) / 2 then
    redis.call('UNLINK', older_keys)
    if redis.call('EXISTS', keys) == 1 then
      redis.call('RENAME', keys, older_keys)
    end
    redis.call('HSET', state, 'keys', now)
  end
  for key, number in pairs(fresh) do
    redis.call('HSET', keys, key, number)
  end
  redis.call('PEXPIRE', keys, 2 * window)
end
return 1
