// The field lists of this folder's structures, for wire/archive.h. Only its codecs include this.
#pragma once

#include "member/parcels.h"
#include "wire/message_fields.h"

namespace instep {

constexpr ErrorKind last_of(ErrorKind) { return ErrorKind::kAgain; }
void fields(auto& archive, wire::Type<Error> auto& it) {
  archive("kind", it.kind);
  archive("message", it.message);
}

}  // namespace instep

namespace instep::member {

using wire::Type;

constexpr Busy last_of(Busy) { return Busy::kWaiting; }
constexpr Phase last_of(Phase) { return Phase::kOver; }
constexpr Reason last_of(Reason) { return Reason::kCrashLoop; }

void fields(auto& archive, Type<Epoch> auto& it) {
  archive("generation", it.generation);
  archive("number", it.number);
}
void fields(auto& archive, Type<Slice> auto& it) {
  archive("first_block", it.first_block);
  archive("blocks", it.blocks);
  archive("owner", it.owner);
}
void fields(auto& archive, Type<View> auto& it) {
  archive("epoch", it.epoch);
  archive("first_op", it.first_op);
  archive("members", it.members);
  archive("spares", it.spares);
  archive("joined", it.joined);
  archive("enters_at", it.enters_at);
  archive("donor", it.donor);
  archive("shard_agent", it.shard_agent);
  archive("slices", it.slices);
}
void fields(auto& archive, Type<Words> auto& it) {
  archive("started", it.started);
  archive("released", it.released);
  archive("view", it.view);
  archive("taken", it.taken);
  archive("beats", it.beats);
  archive("busy", it.busy);
}
void fields(auto& archive, Type<Rules> auto& it) {
  archive("agents", it.agents);
  archive("min_agents", it.min_agents);
  archive("slots", it.slots);
  archive("needs_view", it.needs_view);
  archive("elastic", it.elastic);
  archive("replace", it.replace);
  archive("restore", it.restore);
  archive("hosted", it.hosted);
  archive("late", it.late);
  archive("patience_floor", it.patience_floor);
  archive("patience_ceiling", it.patience_ceiling);
  archive("exit_grace", it.exit_grace);
  archive("terminate_after", it.terminate_after);
  archive("kill_after", it.kill_after);
  archive("start_limit", it.start_limit);
  archive("end_limit", it.end_limit);
  archive("gather_limit", it.gather_limit);
  archive("linger", it.linger);
}
void fields(auto& archive, Type<Outcome> auto& it) {
  archive("reason", it.reason);
  archive("agent", it.agent);
  archive("other", it.other);
  archive("what", it.what);
  archive("value", it.value);
  archive("expected", it.expected);
  archive("code", it.code);
  archive("round", it.round);
  archive("joined", it.joined);
  archive("was_done", it.was_done);
  archive("kind", it.kind);
  archive("message", it.message);
  archive("stop_reason", it.stop_reason);
  archive("interrupted", it.interrupted);
}
void fields(auto& archive, Type<Tell> auto& it) {
  archive("kind", it.kind);
  archive("agent", it.agent);
  archive("round", it.round);
  archive("reason", it.reason);
  archive("stall_ms", it.stall_ms);
  archive("text", it.text);
}
void fields(auto& archive, Type<Standing> auto& it) {
  archive("generation", it.generation);
  archive("phase", it.phase);
  archive("wanted", it.wanted);
  archive("completed", it.completed);
  archive("viewed", it.viewed);
  archive("members", it.members);
  archive("observe_in", it.observe_in);
  archive("due_in", it.due_in);
  archive("outcome", it.outcome);
  archive("reports", it.reports);
}

// Events.
void fields(auto& archive, Type<Heard> auto& it) {
  archive("agent", it.agent);
  archive("message", it.message);
}
void fields(auto& archive, Type<LinkEnded> auto& it) {
  archive("agent", it.agent);
  archive("error", it.error);
}
void fields(auto& archive, Type<Exited> auto& it) {
  archive("agent", it.agent);
  archive("code", it.code);
  archive("signal", it.signal);
  archive("words", it.words);
  archive("at", it.at);
}
void fields(auto&, Type<Prepared> auto&) {}
void fields(auto& archive, Type<LauncherFailed> auto& it) { archive("error", it.error); }
void fields(auto& archive, Type<StopAsked> auto& it) {
  archive("reason", it.reason);
  archive("by_signal", it.by_signal);
  archive("interrupted", it.interrupted);
}
void fields(auto& archive, Type<ScaleAsked> auto& it) { archive("agents", it.agents); }
void fields(auto& archive, Type<Observed> auto& it) { archive("slots", it.slots); }
void fields(auto& archive, Type<BookTaken> auto& it) { archive("round", it.round); }
void fields(auto& archive, Type<JobKnown> auto& it) {
  archive("patience", it.patience);
  archive("restore", it.restore);
}
void fields(auto&, Type<TimePassed> auto&) {}
void fields(auto& archive, Type<Adopted> auto& it) {
  archive("shards", it.shards);
  archive("round", it.round);
  archive("anew", it.anew);
}

// Actions.
void fields(auto& archive, Type<SendWelcome> auto& it) {
  archive("agent", it.agent);
  archive("joining", it.joining);
}
void fields(auto& archive, Type<Publish> auto& it) {
  archive("view", it.view);
  archive("to", it.to);
  archive("with_book", it.with_book);
}
void fields(auto& archive, Type<SendPropose> auto& it) {
  archive("agent", it.agent);
  archive("propose", it.propose);
}
void fields(auto& archive, Type<SendStop> auto& it) {
  archive("agent", it.agent);
  archive("reason", it.reason);
}
void fields(auto& archive, Type<Signal> auto& it) {
  archive("agent", it.agent);
  archive("signal", it.signal);
}
void fields(auto& archive, Type<Start> auto& it) {
  archive("agent", it.agent);
  archive("beside", it.beside);
}
void fields(auto& archive, Type<TakeBook> auto& it) { archive("checkpoint", it.checkpoint); }
void fields(auto&, Type<HostReady> auto&) {}

void fields(auto& archive, Type<Open> auto& it) {
  archive("again", it.again);
  archive("rules", it.rules);
  archive("journal", it.journal);
  archive("generation", it.generation);
  archive("heard", it.heard);
}
void fields(auto& archive, Type<Told> auto& it) {
  archive("number", it.number);
  archive("heard", it.heard);
  archive("event", it.event);
}
void fields(auto& archive, Type<Reply> auto& it) {
  archive("number", it.number);
  archive("known", it.known);
  archive("actions", it.actions);
  archive("standing", it.standing);
  archive("warning", it.warning);
}

}  // namespace instep::member
