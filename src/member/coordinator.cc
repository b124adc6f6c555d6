#include "member/coordinator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "member/fields.h"

namespace instep::member {
namespace {

constexpr int kDepth = 12;  // a record, its replies, one, and a reply's
constexpr std::size_t kEntryHead = 2 * sizeof(std::uint64_t);  // length and hash of the rest

void put(std::byte* at, std::uint64_t value) { std::memcpy(at, &value, sizeof value); }
std::uint64_t get(const std::byte* at) {
  std::uint64_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}

Error behind() {
  return {ErrorKind::kUnavailable,
          "the coordinator died, and its journal lacks what the run has done since it was written "
          "last (was the disk full?)"};
}

// Those of members first, which have gone to the end, then of those that left before.
std::vector<std::string> reports_of(const RunState& state) {
  std::vector<std::string> members, others;
  for (std::size_t slot = 0; slot < state.agents.size(); ++slot) {
    const auto& report = state.agents[slot].report;
    if (!report) continue;
    const bool member = state.view && std::count(state.view->members.begin(),
                                                 state.view->members.end(), AgentId(slot)) > 0;
    (member ? members : others).push_back(*report);
  }
  members.insert(members.end(), others.begin(), others.end());
  for (const auto& [agent, report] : state.reports) members.push_back(report);
  return members;
}

}  // namespace

void fields(auto& archive, Type<AgentLife> auto& it) {
  archive("said_hello", it.said_hello);
  archive("ready", it.ready);
  archive("report", it.report);
  archive("welcomed", it.welcomed);
  archive("link_open", it.link_open);
  archive("alive", it.alive);
  archive("joining", it.joining);
  archive("told_to_end", it.told_to_end);
  archive("leaving", it.leaving);
  archive("asked_itself", it.asked_itself);
  archive("hung", it.hung);
  archive("died_at", it.died_at);
  archive("exit_due", it.exit_due);
  archive("kill_due", it.kill_due);
  archive("words", it.words);
  archive("changed_at", it.changed_at);
  archive("in", it.in);
  archive("in_from", it.in_from);
  archive("out", it.out);
}
void fields(auto& archive, Type<Plan> auto& it) {
  archive("number", it.number);
  archive("round", it.round);
  archive("asked", it.asked);
  archive("kept", it.kept);
  archive("tries", it.tries);
}
void fields(auto& archive, Type<Restart> auto& it) {
  archive("cause", it.cause);
  archive("asked", it.asked);
  archive("taken", it.taken);
  archive("damaged", it.damaged);
  archive("round", it.round);
  archive("enough_at", it.enough_at);
}
void fields(auto& archive, Type<Departed> auto& it) {
  archive("agent", it.agent);
  archive("outcome", it.outcome);
  archive("from", it.from);
}
void fields(auto& archive, Type<Repair> auto& it) {
  archive("tell", it.tell);
  archive("since", it.since);
}
void fields(auto& archive, Type<RunState> auto& it) {
  archive("rules", it.rules);
  archive("phase", it.phase);
  archive("prepared", it.prepared);
  archive("wanted", it.wanted);
  archive("agents", it.agents);
  archive("view", it.view);
  archive("before", it.before);
  archive("before_round", it.before_round);
  archive("departed", it.departed);
  archive("plan", it.plan);
  archive("restart", it.restart);
  archive("generation", it.generation);
  archive("number", it.number);
  archive("begins", it.begins);
  archive("over", it.over);
  archive("joinable", it.joinable);
  archive("stop_is_out", it.stop_is_out);
  archive("stop_signalled", it.stop_signalled);
  archive("waiting_told", it.waiting_told);
  archive("first_hello", it.first_hello);
  archive("first_ready", it.first_ready);
  archive("host_ready", it.host_ready);
  archive("mine", it.mine);
  archive("adopted", it.adopted);
  archive("anew", it.anew);
  archive("came", it.came);
  archive("failed_starts", it.failed_starts);
  archive("starts_off", it.starts_off);
  archive("failed_start", it.failed_start);
  archive("completed", it.completed);
  archive("completed_at_death", it.completed_at_death);
  archive("damages", it.damages);
  archive("damaged_at", it.damaged_at);
  archive("deaths", it.deaths);
  archive("round_times", it.round_times);
  archive("round_seen", it.round_seen);
  archive("observed_at", it.observed_at);
  archive("repairs", it.repairs);
  archive("coming_in", it.coming_in);
  archive("reports", it.reports);
  archive("outcome", it.outcome);
  archive("terminate_at", it.terminate_at);
  archive("kill_at", it.kill_at);
}
void fields(auto& archive, Type<Record> auto& it) {
  archive("known", it.known);
  archive("replied", it.replied);
  archive("unheard", it.unheard);
  archive("state", it.state);
}

std::vector<std::byte> to_entry(const Record& record) {
  const std::vector<std::byte> body = wire::to_cbor(wire::Writer::write(record));
  std::vector<std::byte> out(kEntryHead + body.size());
  put(out.data(), body.size());
  put(out.data() + sizeof(std::uint64_t), xxh3(body));
  std::copy(body.begin(), body.end(), out.begin() + kEntryHead);
  return out;
}

Result<Journal> read_journal(std::span<const std::byte> bytes) {
  const auto head = std::as_bytes(std::span(kJournalHead));
  const std::size_t compared = std::min(bytes.size(), head.size());
  if (!std::equal(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(compared),
                  bytes.begin())) {
    return invalid("it is not a coordinator's journal of this version of instep");
  }
  Journal out;
  if (bytes.size() < head.size()) return out;
  out.whole = head.size();
  std::span<const std::byte> newest;
  while (bytes.size() - out.whole >= kEntryHead) {
    const std::uint64_t length = get(bytes.data() + out.whole);
    if (length > bytes.size() - out.whole - kEntryHead) break;
    const auto body = bytes.subspan(out.whole + kEntryHead, static_cast<std::size_t>(length));
    if (xxh3(body) != get(bytes.data() + out.whole + sizeof(std::uint64_t))) break;
    newest = body;
    out.whole += kEntryHead + body.size();
  }
  if (newest.empty()) return out;
  INSTEP_ASSIGN_OR_RETURN(const nlohmann::json in, wire::from_cbor(newest, kDepth));
  wire::Reader reader(in, "entry of the journal");
  fields(reader, out.newest.emplace());
  INSTEP_RETURN_IF_ERROR(reader.status());
  return out;
}

void Coordinator::begin_generation(std::uint32_t newest) {
  record_.state.generation = std::max(record_.state.generation, newest) + 1;
}

Reply Coordinator::reply(Nanoseconds now) const {
  const RunState& state = record_.state;
  const auto from_now = [now](const std::optional<Nanoseconds>& at) {
    return at ? std::optional(std::max<Nanoseconds>(0, *at - now)) : std::nullopt;
  };
  Reply out;
  out.known = record_.known;
  out.standing.generation = state.generation;
  out.standing.phase = state.phase;
  out.standing.wanted = state.wanted;
  out.standing.completed = state.completed;
  out.standing.viewed = state.view.has_value();
  if (state.view) out.standing.members = state.view->members;
  out.standing.observe_in = from_now(next_observation(state));
  out.standing.due_in = from_now(next_deadline(state));
  if (state.phase == Phase::kOver) {
    out.standing.outcome = state.outcome;
    out.standing.reports = reports_of(state);
  }
  return out;
}

void Coordinator::forget(std::uint64_t heard) {
  std::erase_if(record_.unheard, [heard](const Reply& it) { return it.number <= heard; });
}

Result<std::vector<Reply>> Coordinator::open(std::uint64_t heard, Nanoseconds now) {
  if (heard > record_.replied) return behind();
  forget(heard);
  std::vector<Reply> out = record_.unheard;
  out.push_back(reply(now));
  return out;
}

Result<Reply> Coordinator::take(Told told, Nanoseconds now) {
  forget(told.heard);
  if (told.number != 0 && told.number <= record_.known) return reply(now);
  if (told.number > record_.known + 1) return behind();
  Decision decision = decide(std::move(record_.state), std::move(told.event), now);
  record_.state = std::move(decision.state);
  if (told.number != 0) record_.known = told.number;
  Reply out = reply(now);
  if (told.number == 0 && decision.actions.empty()) return out;
  out.number = ++record_.replied;
  out.actions = std::move(decision.actions);
  record_.unheard.push_back(out);
  return out;
}

}  // namespace instep::member
