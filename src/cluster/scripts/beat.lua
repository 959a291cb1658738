-- A host's sign of life, once a second: see docs/cluster.md.
-- KEYS: stream, hosts, revoked, their ends, state
-- ARGV: host, lease in ms, whether this host has been alive long enough to tell that others are not,
--       how long events are kept in ms, statistics, whether nothing could be added behind what others
--       have written, whether what was to be added was refused
local stream, hosts, revoked, revoked_ends, state = unpack(KEYS)
local host, lease, may_judge, age_kept, statistics, is_blocked, is_refused = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local own = '{shopwire}:here:' .. host

local until_then = redis.call('ZSCORE', hosts, host)
local is_new = not until_then or tonumber(until_then) < now
redis.call('ZADD', hosts, now + lease, host)

-- The customers of a host that is gone become this one's, who looks which of them it has. Where this one's
-- own lease was over, it was Redis that stood still, or the way to it was cut, and the others may be well.
local adopted = 0
if may_judge == '1' and not is_new then
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', hosts, '-inf', now)) do
    local theirs = '{shopwire}:here:' .. gone
    adopted = adopted + redis.call('SCARD', theirs)
    redis.call('SUNIONSTORE', own, own, theirs)
    redis.call('UNLINK', theirs)
    redis.call('ZREM', hosts, gone)
  end
end

-- No token is left that is meant.
local over = redis.call('ZRANGEBYSCORE', revoked_ends, '-inf', now, 'LIMIT', 0, 1000)
if #over > 0 then
  redis.call('HDEL', revoked, unpack(over))
  redis.call('ZREM', revoked_ends, unpack(over))
end

redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', (now - age_kept) * 1024))
redis.call('EXPIRE', '{shopwire}:batch:' .. host, 86400)
redis.call('SET', '{shopwire}:statistics:' .. host, statistics, 'PX', lease)
if is_blocked == '1' then
  local last = redis.call('HGET', state, 'last') or '0'
  local still = blocked(stream, last, math.max(tonumber(last) + 1, now * 1024))
  if still then
    return still
  end
end
if is_refused == '1' then
  -- What a sign of life needs is allowed; whether the rest is again, only trying tells.
  local trial = '{shopwire}:trial:' .. host
  local tried = redis.pcall('XADD', trial, '*', 't', 1)
  if type(tried) == 'table' and tried.err then
    return tried
  end
  redis.call('UNLINK', trial)
end
local reply = { is_new and 1 or 0, adopted }
for _, other in ipairs(redis.call('ZRANGE', hosts, 0, -1)) do
  local theirs = redis.call('GET', '{shopwire}:statistics:' .. other)
  if theirs then
    reply[#reply + 1] = other
    reply[#reply + 1] = theirs
  end
end
return reply
