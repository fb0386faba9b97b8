-- SPDX-License-Identifier: MIT
-- wrk: POST /messages, each request a new message; prints one JSON object.
local token = os.getenv("TOKEN") or ""
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
if token ~= "" then
  wrk.headers["Authorization"] = "Bearer " .. token
end
wrk.body = string.format(
  '{"to":"%s","content":"a message of ordinary length, as agents exchange them all day long"}',
  os.getenv("RECIPIENT") or "bob")

function done(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '\n{"done":%d,"refused":%d,"per_second":%.1f,"p50_ms":%.3f,"p90_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
    summary.requests - summary.errors.status, bad,
    (summary.requests - summary.errors.status) * 1e6 / summary.duration,
    latency:percentile(50) / 1000, latency:percentile(90) / 1000,
    latency:percentile(99) / 1000, latency.max / 1000))
end
