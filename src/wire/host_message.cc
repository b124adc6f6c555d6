#include "wire/host_message.h"

#include "wire/message_fields.h"
#include "wire/tagged.h"

namespace instep::wire {

void fields(auto& archive, Type<Enroll> auto& m) {
  archive("protocol", m.protocol);
  archive("token", m.token);
  archive("request", m.request);
  archive("version", m.version);
  archive("name", m.name);
}
void fields(auto& archive, Type<Enrolled> auto& m) {
  archive("host", m.host);
  archive("certificate", m.certificate);
  archive("authority", m.authority);
}
void fields(auto& archive, Type<HostHello> auto& m) {
  archive("protocol", m.protocol);
  archive("name", m.name);
  archive("agents", m.agents);
  archive("address", m.address);
  archive("port", m.port);
}
void fields(auto& archive, Type<HostWelcome> auto& m) {
  archive("run", m.run);
  archive("job_json", m.job_json);
  archive("job_toml", m.job_toml);
  archive("has_dataset", m.has_dataset);
  archive("begun", m.begun);
}
void fields(auto& archive, Type<PeerHello> auto& m) { archive("protocol", m.protocol); }
void fields(auto& archive, Type<HostReady> auto& m) {
  archive("job_hash", m.job_hash);
  archive("state_hash", m.state_hash);
  archive("shards", m.shards);
  archive("blocks", m.blocks);
  archive("first_round", m.first_round);
  archive("fingerprint", m.fingerprint);
}
void fields(auto& archive, Type<HostStands> auto& m) {
  archive("number", m.number);
  archive("done", m.done);
  archive("empty", m.empty);
}
void fields(auto& archive, Type<HostTook> auto& m) { archive("number", m.number); }
void fields(auto& archive, Type<HostBroken> auto& m) { archive("peer", m.peer); }
void fields(auto& archive, Type<HostLacks> auto& m) {
  archive("number", m.number);
  archive("peers", m.peers);
}
void fields(auto& archive, Type<HostMeasured> auto& m) {
  archive("number", m.number);
  archive("round_us", m.round_us);
  archive("sent", m.sent);
  archive("rate", m.rate);
  archive("full", m.full);
  archive("slow", m.slow);
  archive("slow_rates", m.slow_rates);
}
void fields(auto&, Type<HostLeaves> auto&) {}
void fields(auto&, Type<HostDone> auto&) {}
void fields(auto&, Type<HostAsksStop> auto&) {}
void fields(auto& archive, Type<HostsBegin> auto& m) {
  archive("ids", m.ids);
  archive("names", m.names);
  archive("addresses", m.addresses);
}
void fields(auto& archive, Type<HostsLineup> auto& m) {
  archive("number", m.number);
  archive("first_round", m.first_round);
  archive("donor", m.donor);
  archive("newcomers", m.newcomers);
  archive("ids", m.ids);
  archive("shards", m.shards);
  archive("first_block", m.first_block);
  archive("blocks", m.blocks);
  archive("agents", m.agents);
}
void fields(auto& archive, Type<HostsGo> auto& m) { archive("number", m.number); }
void fields(auto& archive, Type<HostsHalt> auto& m) {
  archive("number", m.number);
  archive("lost", m.lost);
}
void fields(auto& archive, Type<HostsAsk> auto& m) { archive("number", m.number); }
void fields(auto&, Type<HostsEnd> auto&) {}

namespace {

// In the order of HostMessage's alternatives.
constexpr Names<HostMessage> kNames = {"enroll",   "enrolled", "hello", "welcome", "peer",
                                       "ready",    "stands",   "took",  "broken",  "lacks",
                                       "measured", "leaves",   "done",  "begin",   "line-up",
                                       "go",       "halt",     "ask",   "end",     "failed"};
constexpr int kDepth = 3;  // the message, its lists, and lists in them

}  // namespace

std::vector<std::byte> encode_host(const HostMessage& message) {
  return write_tagged(message, kNames);
}

Result<HostMessage> decode_host(std::span<const std::byte> body) {
  if (body.size() > kMaxHostMessageBytes) return invalid("malformed message: too long");
  return read_tagged<HostMessage>(body, kDepth, kNames);
}

}  // namespace instep::wire
