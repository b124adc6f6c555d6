// The coordinator's process: as coord::coordinate() and its journal.
#include <algorithm>

#include "base/text.h"
#include "cluster.h"

namespace instep::sim {

void Cluster::send_to_desk(std::variant<member::Open, member::Told> what) {
  if (!desk_.up) return;
  desk_.in.push_back(std::move(what));
  const Nanoseconds slow = random.below(60) == 0 ? 20 * kMillisecond : 60 * kMicrosecond;
  desk_.in_at = std::max(desk_.in_at, now() + 2 * kMicrosecond + upto(slow));
  push(desk_.in_at - now(), What::kDesk, -1, desk_.life);
}

void Cluster::hear_at_desk() {
  if (!desk_.up || desk_.in.empty()) return;
  if (now() < desk_.stalled_until) {
    push(desk_.stalled_until - now(), What::kDesk, -1, desk_.life);
    return;
  }
  auto heard = std::move(desk_.in.front());
  desk_.in.pop_front();
  if (dies_at("heard")) return;
  if (auto* open = std::get_if<member::Open>(&heard)) return serve(*open);
  serve(std::get<member::Told>(std::move(heard)));
}

void Cluster::serve(const member::Open& open) {
  if (!open.again) {
    desk_.alive.emplace(open.rules);
  } else {
    // As it lies on the disk: the newest entries, and what the last death left of one.
    std::vector<std::byte> bytes;
    const auto head = std::as_bytes(std::span(member::kJournalHead));
    bytes.assign(head.begin(), head.end());
    for (const auto* record : {&desk_.before, &desk_.newest}) {
      if (!*record) continue;
      const std::vector<std::byte> entry = member::to_entry(**record);
      bytes.insert(bytes.end(), entry.begin(), entry.end());
    }
    const std::size_t whole = bytes.size();
    bytes.insert(bytes.end(), desk_.torn.begin(), desk_.torn.end());
    auto journal = member::read_journal(bytes);
    if (!journal.ok()) throw Violation(cat("the journal: ", journal.error().message));
    if (!journal->newest || journal->whole != whole) throw Violation("the journal lacks entries");
    if (!desk_.torn.empty()) counts.note("torn entries cut off");
    desk_.alive.emplace(std::move(*journal->newest));
    counts.note("coordinators that go on");
  }
  desk_.torn.clear();
  const std::uint32_t newest = desk_.newest ? desk_.newest->state.generation : 0;
  desk_.alive->begin_generation(std::max(newest, open.generation));
  const auto replies = desk_.alive->open(open.heard, now());
  if (!replies.ok()) throw Violation(replies.error().message);
  write_journal();
  if (dies_at("begun")) return;
  for (const member::Reply& it : *replies) reply(it);
}

void Cluster::serve(member::Told told) {
  const bool exited = std::holds_alternative<member::Exited>(told.event);
  const AgentId gone = exited ? std::get<member::Exited>(told.event).agent : -1;
  if (gone >= 0) {
    const member::Words& words = std::get<member::Exited>(told.event).words;
    trace(gone, cat("is known to be dead: op ", words.released >> member::kOpBits, ".",
                    words.released & member::kRoundOp, ", view ", words.taken));
  }
  // Bugs are planted in what the coordinator knows.
  member::Record changed = {};
  if (plant == Plant::kOwnGap && std::holds_alternative<member::Observed>(told.event)) {
    changed = desk_.alive->record();
    if (changed.state.observed_at) changed.state.observed_at = now();
    desk_.alive.emplace(std::move(changed));
  }
  if (plant == Plant::kSameNumber && gone >= 0) {
    changed = desk_.alive->record();
    if (!changed.state.plan && changed.state.number > 1) --changed.state.number;
    desk_.alive.emplace(std::move(changed));
  }
  const member::Phase before = state().phase;
  auto taken = desk_.alive->take(std::move(told), now());
  if (!taken.ok()) throw Violation(taken.error().message);
  if (before != state().phase) {
    counts.note(
        cat("member phase ", static_cast<int>(before), " to ", static_cast<int>(state().phase)));
  }
  if (plant == Plant::kReuseSlot && gone >= 0) {
    changed = desk_.alive->record();
    changed.state.agents[static_cast<std::size_t>(gone)].in.reset();
    changed.state.agents[static_cast<std::size_t>(gone)].out.reset();
    desk_.alive.emplace(std::move(changed));
  }
  for (member::Action& action : taken->actions) {
    if (auto* view = std::get_if<member::Publish>(&action)) plant_in(view->view);
    if (const auto* signal = std::get_if<member::Signal>(&action)) check_eviction(signal->agent);
  }
  if (dies_at("decided")) return;
  if (plant == Plant::kSendFirst) {
    reply(*taken);
    if (taken->number != 0 && dies_at("unrecorded")) return;
  }
  if (taken->number != 0) {
    if (dies_at("torn")) {
      const std::vector<std::byte> entry = member::to_entry(member::Record{});
      desk_.torn.assign(entry.begin(),
                        entry.begin() + static_cast<std::ptrdiff_t>(random.below(entry.size())));
      return;
    }
    write_journal();
  }
  if (dies_at("recorded")) return;
  if (plant != Plant::kSendFirst) reply(*taken);
  dies_at("sent");
}

void Cluster::reply(const member::Reply& it) {
  const Nanoseconds slow = random.below(60) == 0 ? 20 * kMillisecond : 60 * kMicrosecond;
  desk_.out_at = std::max(desk_.out_at, now() + 2 * kMicrosecond + upto(slow));
  desk_.out.emplace_back(desk_.out_at, it);
  look_again();
}

void Cluster::write_journal() {
  desk_.before = std::move(desk_.newest);
  desk_.newest = desk_.alive->record();
}

bool Cluster::dies_at(const char* place) {
  if (!desk_.die_at || (*desk_.die_at)-- != 0) return false;
  kill_desk(place);
  return true;
}

void Cluster::kill_desk(const char* place) {
  counts.note(cat("coordinator killed ", place));
  trace(-1, cat("the coordinator is killed: ", place));
  desk_.die_at.reset();
  desk_.alive.reset();
  desk_.up = false;
  desk_.in.clear();
  // What it sent may arrive late, when another says it again, or its newest part not at all.
  while (!desk_.out.empty() && random.below(3) == 0) desk_.out.pop_back();
  for (auto& [at, reply] : desk_.out) at = desk_.out_at = desk_.out_at + upto(5 * kMillisecond);
  ++desk_.life;
  const std::uint64_t dice = random.below(4);
  const Nanoseconds slow = dice == 0   ? 80 * kMillisecond
                           : dice == 1 ? 50 * kMicrosecond
                                       : 8 * kMillisecond;
  push(upto(slow), What::kDeskStart, -1, desk_.life);
  if (random.below(4) == 0) desk_.die_at = random.below(3);  // the next one too
}

void Cluster::start_desk() {
  desk_.up = true;
  const member::Open open = client_.open(rules_);
  send_to_desk(open);
  if (open.again && plant == Plant::kForgetTold) return;
  for (const member::Told& told : client_.untold()) send_to_desk(told);
}

void Cluster::plant_in(member::View& view) {
  const member::RunState& now = state();
  const bool planned = now.before && now.view->epoch == view.epoch &&
                       view.first_op == member::round_op(member::rounds_before(view.first_op)) &&
                       now.before_round == member::rounds_before(view.first_op) &&
                       now.before->epoch < view.epoch && now.repairs.empty();
  const bool death = !planned && published_ && view.joined.empty();
  if (planned && plant == Plant::kPlanTooEarly && view.first_op > member::round_op(2)) {
    view.first_op = member::round_op(member::rounds_before(view.first_op) - 2);
    if (view.enters_at != 0) view.enters_at = view.first_op;
  }
  if (death && plant == Plant::kDeathTooLate) {
    const bool in_round = (view.first_op & member::kRoundOp) == member::kRoundOp;
    view.first_op = in_round ? member::gather_op(member::rounds_before(view.first_op) + 1, 0)
                             : view.first_op + 1;
  }
  if (death && plant == Plant::kDeathTooEarly && view.first_op > member::round_op(2)) {
    view.first_op = member::round_op(member::rounds_before(view.first_op) - 2);
  }
}

// A coordinator that was itself stopped evicts nobody, nor does one that is impatient.
void Cluster::check_eviction(AgentId agent) {
  if (!state().agents[static_cast<std::size_t>(agent)].hung) return;
  const Slot& it = slot(agent);
  if (!lives(it) || it.doomed) return;
  const Nanoseconds still = it.still + (it.still_since ? now() - *it.still_since : 0);
  counts.note("evicted");
  if (still < 200 * kMillisecond) {
    throw Violation(
        cat("agent ", agent, " is evicted and stood still for ", still / kMillisecond, " ms only"));
  }
}

}  // namespace instep::sim
