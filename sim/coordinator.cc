// The shell around decide(): as coord::Launcher and coord::Crew.
#include <signal.h>

#include <algorithm>

#include "base/text.h"
#include "cluster.h"
#include "round/undo.h"

namespace instep::sim {

namespace {

std::string list(const std::vector<AgentId>& agents) {
  std::vector<std::string> words;
  for (const AgentId agent : agents) words.push_back(std::to_string(agent));
  return words.empty() ? "nobody" : join(words, ",");
}

}  // namespace

member::Words Cluster::words_of(AgentId agent) {
  const fabric::AgentWords& words = memory.words(agent);
  member::Words out;
  const fabric::Standing stands = fabric::standing(words);
  if (stands.view != 0) {
    out.started = stands.op;
    out.released = stands.released();
  }
  out.view = fabric::standing(words).view;
  out.taken = words.taken.load(std::memory_order_acquire);
  out.beats = words.beats.load(std::memory_order_relaxed);
  out.busy = static_cast<member::Busy>(words.busy.load(std::memory_order_relaxed));
  return out;
}

std::vector<member::Words> Cluster::observe() {
  std::vector<member::Words> out;
  for (AgentId agent = 0; agent < count(); ++agent) out.push_back(words_of(agent));
  if (plant == Plant::kOwnGap && state_.observed_at) state_.observed_at = now_;
  return out;
}

// When there is something to hear or to judge next.
void Cluster::look_again() {
  std::optional<Nanoseconds> at;
  const auto consider = [&at](const std::optional<Nanoseconds>& time) {
    if (time && (!at || *time < *at)) at = time;
  };
  const Nanoseconds soon = now_ + 10 * kMicrosecond;
  for (Slot& it : slots_) {
    if (it.reaped) continue;
    if (!it.out.empty()) consider(std::max(soon, it.out.front().first));
    if (it.proved || (it.link_ended && !it.told_end)) consider(soon);
  }
  consider(member::next_deadline(state_));
  consider(member::next_observation(state_));
  if (!at) return;
  const Nanoseconds due = std::max({*at, soon, stalled_until_});
  if (look_at_ && *look_at_ <= due) return;
  look_at_ = due;
  push(due - now_, What::kLook, -1, 0);
}

void Cluster::look() {
  look_at_.reset();
  if (now_ < stalled_until_) return look_again();
  std::vector<member::Event> events;
  std::vector<AgentId> dead;
  for (AgentId agent = 0; agent < count(); ++agent) {
    Slot& it = slot(agent);
    if (it.reaped) continue;
    const bool ended = it.proved;
    while (!it.out.empty() && (ended || it.out.front().first <= now_)) {
      events.emplace_back(std::in_place_type<member::Heard>, agent,
                          std::move(it.out.front().second));
      it.out.pop_front();
    }
    if (it.link_ended && !it.told_end && it.out.empty()) {
      it.told_end = true;
      events.emplace_back(std::in_place_type<member::LinkEnded>, agent, std::string());
    }
    if (!ended) continue;
    it.reaped = true;
    dead.push_back(agent);
    if (plant == Plant::kLateUndo) {
      push(upto(3 * kMillisecond), What::kUndo, agent, it.life);
    } else if (plant != Plant::kNoUndo) {
      undo(agent);
    }
    events.emplace_back(std::in_place_type<member::Exited>,
                        member::Exited{agent, it.code, it.signal, words_of(agent)});
  }
  if (!dead.empty() && member::next_observation(state_)) feed(member::Observed{observe()});
  for (member::Event& event : events) feed(std::move(event));
  if (const auto due = member::next_deadline(state_); due && now_ >= *due) {
    feed(member::TimePassed{});
  }
  if (const auto due = member::next_observation(state_); due && now_ >= *due) {
    feed(member::Observed{observe()});
  }
  look_again();
}

void Cluster::undo(AgentId agent) {
  const Status undone = round::undo(memory.words(agent), memory.arena(agent), memory.state());
  if (!undone.ok()) throw Violation(undone.error().message);
}

void Cluster::feed(member::Event event) {
  pending_.push_back(std::move(event));
  if (pending_.size() > 1) return;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const member::Phase before = state_.phase;
    const auto* exited = std::get_if<member::Exited>(&pending_[i]);
    const AgentId gone = exited == nullptr ? -1 : exited->agent;
    if (gone >= 0) {
      trace(gone, cat("is known to be dead: op ", exited->words.released >> member::kOpBits, ".",
                      exited->words.released & member::kRoundOp, ", view ", exited->words.taken));
      if (plant == Plant::kSameNumber && !state_.plan && state_.number > 1) --state_.number;
    }
    member::Decision decision = member::decide(std::move(state_), std::move(pending_[i]), now_);
    state_ = std::move(decision.state);
    if (before != state_.phase) {
      counts.note(
          cat("member phase ", static_cast<int>(before), " to ", static_cast<int>(state_.phase)));
    }
    for (const member::Action& action : decision.actions) act(action);
    if (gone >= 0 && plant == Plant::kReuseSlot) {
      state_.agents[static_cast<std::size_t>(gone)].in.reset();
      state_.agents[static_cast<std::size_t>(gone)].out.reset();
    }
  }
  pending_.clear();
}

void Cluster::act(const member::Action& action) {
  note(action.index());
  if (const auto* welcome = std::get_if<member::SendWelcome>(&action)) {
    wire::Welcome message;
    message.slots = memory.slots();
    message.joining = welcome->joining;
    post(welcome->agent, std::move(message));
  } else if (const auto* view = std::get_if<member::Publish>(&action)) {
    publish(*view);
  } else if (const auto* plan = std::get_if<member::SendPropose>(&action)) {
    const bool withdrawn = plan->propose.round == wire::kWithdrawn;
    counts.note(withdrawn ? "plans withdrawn" : "plans asked for");
    if (tracing) {
      trace(-1, cat("proposes ", plan->propose.number, " to agent ", plan->agent,
                    withdrawn ? ": withdrawn" : cat(" from round ", plan->propose.round)));
    }
    post(plan->agent, plan->propose);
  } else if (const auto* stop = std::get_if<member::SendStop>(&action)) {
    counts.note("stop requests");
    post(stop->agent, wire::StopRequest{stop->reason});
  } else if (const auto* signal = std::get_if<member::Signal>(&action)) {
    check_decision(action);
    if (signal->signal == SIGKILL) {
      kill(signal->agent, upto(200 * kMicrosecond), SIGKILL);
    } else {
      push(upto(200 * kMicrosecond), What::kTerminate, signal->agent, slot(signal->agent).life);
    }
  } else if (const auto* started = std::get_if<member::Start>(&action)) {
    start(started->agent);
  } else if (std::holds_alternative<member::TakeBook>(action)) {
    take_book();
  } else if (const auto* news = std::get_if<member::Tell>(&action)) {
    counts.note(cat("told: ", news->kind));
    trace(-1, cat("tells: ", news->text));
  }
}

// The coordinator that was itself stopped evicts nobody, nor does one that is impatient.
void Cluster::check_decision(const member::Action& action) {
  const auto& signal = std::get<member::Signal>(action);
  if (!state_.agents[static_cast<std::size_t>(signal.agent)].hung) return;
  const Slot& it = slot(signal.agent);
  if (!lives(it) || it.doomed) return;
  const Nanoseconds still = it.still + (it.still_since ? now_ - *it.still_since : 0);
  counts.note("evicted");
  if (still < 200 * kMillisecond) {
    throw Violation(cat("agent ", signal.agent, " is evicted and stood still for ",
                        still / kMillisecond, " ms only"));
  }
}

void Cluster::publish(const member::Publish& action) {
  member::View view = action.view;
  const bool planned = state_.before && state_.view->epoch == view.epoch &&
                       view.first_op == member::round_op(member::rounds_before(view.first_op)) &&
                       state_.before_round == member::rounds_before(view.first_op) &&
                       state_.before->epoch < view.epoch && state_.repairs.empty();
  const bool death = !planned && newest_view_ > 0 && view.joined.empty();
  if (planned && plant == Plant::kPlanTooEarly && view.first_op > member::round_op(2)) {
    view.first_op = member::round_op(member::rounds_before(view.first_op) - 2);
    if (view.enters_at != 0) view.enters_at = view.first_op;
  }
  if (death && plant == Plant::kDeathTooLate) {
    const bool in_round = (view.first_op & member::kRoundOp) == member::kRoundOp;
    view.first_op = in_round ? member::gather_op(member::rounds_before(view.first_op) + 1, 0)
                             : view.first_op + 1;
  }
  if (death && plant == Plant::kDeathTooEarly && view.first_op > member::round_op(1)) {
    view.first_op = member::round_op(member::rounds_before(view.first_op) - 1);
  }
  if (view.epoch.number <= newest_view_ && plant == Plant::kNone) {
    throw Violation(cat("view ", view.epoch.number, " comes after view ", newest_view_));
  }
  newest_view_ = view.epoch.number;
  const Status valid = member::validate(view, job.shards, job.space.blocks());
  if (!valid.ok()) throw Violation(cat("a view is published: ", valid.error().message));
  counts.note(view.joined.empty() ? "views" : "views with newcomers");
  if (tracing) {
    trace(-1, cat("publishes view ", view.epoch.number, " from op ",
                  view.first_op >> member::kOpBits, ".", view.first_op & member::kRoundOp,
                  ": agents ", list(view.members), ", joined by ", list(view.joined), ", donor ",
                  view.donor, action.with_book ? ", with a book" : ""));
  }
  if (action.with_book) book_view = view.epoch.number;
  const wire::ViewMessage message = member::to_message(view);
  for (const AgentId agent : action.to) post(agent, message);
}

void Cluster::take_book() {
  counts.note("books taken");
  for (AgentId agent = 0; agent < count(); ++agent) {
    const std::uint64_t at = memory.words(agent).book.load(std::memory_order_acquire);
    if (!slot(agent).reaped || at == 0) continue;
    const auto found = round::read_book(memory.arena(agent), at);
    if (!found.ok()) throw Violation(cat("the book of agent ", agent, " is damaged"));
    if (book_round_ && found->round <= *book_round_) continue;
    book = round::copy_book(*found);
    book_round_ = found->round;
  }
  feed(member::BookTaken{book_round_});
}

}  // namespace instep::sim
