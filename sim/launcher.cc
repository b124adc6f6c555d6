// The launcher: as coord::Launcher and coord::Crew.
#include <signal.h>

#include <algorithm>

#include "base/text.h"
#include "cluster.h"
#include "member/step.h"
#include "round/undo.h"

namespace instep::sim {

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
  return out;
}

// When there is something to hear or to judge next.
void Cluster::look_again() {
  std::optional<Nanoseconds> at;
  const auto consider = [&at](const std::optional<Nanoseconds>& time) {
    if (time && (!at || *time < *at)) at = time;
  };
  const Nanoseconds soon = now() + 10 * kMicrosecond;
  consider(news_at_);
  consider(others_until_);
  for (Slot& it : slots_) {
    if (it.reaped || outcome_) continue;
    if (!it.out.empty()) consider(std::max(soon, it.out.front().first));
    if (it.proved || (it.link_ended && !it.told_end)) consider(soon);
  }
  if (!outcome_) {
    consider(client_.due_at());
    consider(client_.observe_at());
    if (!desk_.out.empty()) consider(std::max(soon, desk_.out.front().first));
  }
  if (!at) return;
  const Nanoseconds due = std::max({*at, soon, stalled_until_});
  if (look_at_ && *look_at_ <= due) return;
  look_at_ = due;
  push(due - now(), What::kLook, -1, 0);
}

void Cluster::look() {
  look_at_.reset();
  if (now() < stalled_until_) return look_again();
  if (outcome_) return wait_for_others();
  take_bridge();
  std::vector<member::Event> events;
  for (AgentId agent = 0; agent < count(); ++agent) {
    Slot& it = slot(agent);
    if (it.reaped) continue;
    const bool ended = it.proved;
    while (!it.out.empty() && (ended || it.out.front().first <= now())) {
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
    if (plant == Plant::kLateUndo) {
      push(upto(3 * kMillisecond), What::kUndo, agent, it.life);
    } else if (plant != Plant::kNoUndo) {
      undo(agent);
    }
    events.emplace_back(std::in_place_type<member::Exited>,
                        member::Exited{agent, it.code, it.signal, words_of(agent), now()});
  }
  if (std::any_of(events.begin(), events.end(), member::judged_by_words)) {
    tell(member::Observed{observe()});
  }
  for (member::Event& event : events) tell(std::move(event));
  while (!desk_.out.empty() && desk_.out.front().first <= now()) {
    const member::Reply reply = std::move(desk_.out.front().second);
    desk_.out.pop_front();
    if (!client_.hear(reply, now())) {
      counts.note("replies heard twice");
      if (plant != Plant::kHearTwice) continue;
    }
    for (const member::Action& action : reply.actions) act(action);
    if (reply.standing.outcome) outcome_ = reply.standing.outcome;
  }
  if (outcome_) return wait_for_others();
  if (const auto due = client_.due_at(); due && now() >= *due) ask(member::TimePassed{});
  if (const auto due = client_.observe_at(); due && now() >= *due) ask(member::Observed{observe()});
  look_again();
}

void Cluster::undo(AgentId agent) {
  const Status undone = round::undo(memory.words(agent), memory.arena(agent), memory.state());
  if (!undone.ok()) throw Violation(undone.error().message);
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
    if (signal->signal == SIGKILL) {
      kill(signal->agent, upto(200 * kMicrosecond), SIGKILL);
    } else {
      push(upto(200 * kMicrosecond), What::kTerminate, signal->agent, slot(signal->agent).life);
    }
  } else if (const auto* started = std::get_if<member::Start>(&action)) {
    if (bridge_ != nullptr) bridge_->fence();
    start(started->agent);
  } else if (std::holds_alternative<member::HostReady>(action)) {
    bridge_->ready();
  } else if (std::holds_alternative<member::TakeBook>(action)) {
    take_book();
  } else if (const auto* news = std::get_if<member::Tell>(&action)) {
    counts.note(cat("told: ", news->kind));
    trace(-1, cat("tells: ", news->text));
  }
}

void Cluster::publish(const member::Publish& action) {
  const member::View& view = action.view;
  const bool grows = !published_ || (published_->epoch.number < view.epoch.number &&
                                     published_->epoch.generation <= view.epoch.generation);
  if (!grows && plant != Plant::kSameNumber) {
    throw Violation(cat("view ", view.epoch.generation, ".", view.epoch.number,
                        " comes after view ", published_->epoch.generation, ".",
                        published_->epoch.number));
  }
  published_ = view;
  const Status valid = member::validate(view, job.shards, job.space.blocks());
  if (!valid.ok()) throw Violation(cat("a view is published: ", valid.error().message));
  counts.note(view.joined.empty() ? "views" : "views with newcomers");
  if (tracing) {
    trace(-1, cat("publishes view ", view.epoch.generation, ".", view.epoch.number, " from op ",
                  view.first_op >> member::kOpBits, ".", view.first_op & member::kRoundOp, ": ",
                  member::named("agent", view.members), "; joined by ",
                  member::named("agent", view.joined), ", donor ", view.donor,
                  action.with_book ? ", with a book" : ""));
  }
  if (action.with_book) book_view = view.epoch.number;
  if (bridge_ != nullptr) bridge_->view(view);
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
  tell(member::BookTaken{book_round_});
}

}  // namespace instep::sim
