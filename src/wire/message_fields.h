// The field lists of the messages, for wire/archive.h. Only codecs include this.
#pragma once

#include "wire/archive.h"
#include "wire/message.h"

namespace instep::wire {

void fields(auto& archive, Type<Hello> auto& m) {
  archive("protocol", m.protocol);
  archive("agent", m.agent);
  archive("pid", m.pid);
  archive("fingerprint", m.fingerprint);
}
void fields(auto& archive, Type<Welcome> auto& m) {
  archive("slots", m.slots);
  archive("processors", m.processors);
  archive("has_dataset", m.has_dataset);
  archive("has_world", m.has_world);
  archive("joining", m.joining);
  archive("mode", m.mode);
  archive("job_json", m.job_json);
  archive("job_toml", m.job_toml);
  archive("job_name", m.job_name);
  archive("job_folder", m.job_folder);
  archive("sets", m.sets);
  archive("run_dir", m.run_dir);
  archive("checkpoint", m.checkpoint);
  archive("predict_input", m.predict_input);
  archive("files", m.files);
}
void fields(auto& archive, Type<Ready> auto& m) {
  archive("job_json", m.job_json);
  archive("job_hash", m.job_hash);
  archive("shards", m.shards);
  archive("blocks", m.blocks);
  archive("owners", m.owners);
  archive("servers", m.servers);
  archive("first_round", m.first_round);
  archive("state_hash", m.state_hash);
  archive("joinable", m.joinable);
  archive("tensor_begin", m.tensor_begin);
  archive("tensor_count", m.tensor_count);
  archive("checks_at_even", m.checks_at_even);
  archive("checks_at_odd", m.checks_at_odd);
  archive("state_at_even", m.state_at_even);
  archive("state_at_odd", m.state_at_odd);
  archive("carried", m.carried);
}
void fields(auto& archive, Type<ViewMessage> auto& m) {
  archive("generation", m.generation);
  archive("number", m.number);
  archive("first_op", m.first_op);
  archive("enters_at", m.enters_at);
  archive("donor", m.donor);
  archive("members", m.members);
  archive("spares", m.spares);
  archive("joined", m.joined);
  archive("shard_agent", m.shard_agent);
  archive("slice_first_block", m.slice_first_block);
  archive("slice_blocks", m.slice_blocks);
  archive("slice_owner", m.slice_owner);
}
void fields(auto& archive, Type<Progress> auto& m) {
  archive("kind", m.kind);
  archive("fields", m.fields);
}
void fields(auto& archive, Type<Done> auto& m) { archive("report", m.report); }
void fields(auto& archive, Type<Failed> auto& m) {
  archive("kind", m.kind);
  archive("message", m.message);
}
void fields(auto& archive, Type<StopRequest> auto& m) { archive("reason", m.reason); }
void fields(auto& archive, Type<Propose> auto& m) {
  archive("number", m.number);
  archive("round", m.round);
}
void fields(auto& archive, Type<Promise> auto& m) {
  archive("number", m.number);
  archive("kept", m.kept);
  archive("over", m.over);
  archive("round", m.round);
}
void fields(auto&, Type<Leaving> auto&) {}
void fields(auto& archive, Type<Parcel> auto& m) { archive("body", m.body); }

}  // namespace instep::wire
