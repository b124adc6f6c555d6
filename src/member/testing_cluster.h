// decide() with a whole cluster of model agents around it, on virtual time: they publish, wait,
// take up views, promise, join from a book, stop, hang and die at random, and messages take their
// time. On a host among several shards come and go as well. Repeat a seed by --gtest_filter and the
// number that a failure shows.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <map>

#include "base/random.h"
#include "base/text.h"
#include "member/step.h"
#include "member/testing_agent.h"

namespace instep::member {

class Cluster {
 public:
  Cluster(std::uint64_t seed, const Rules& rules) : random_(seed), driver_(rules) {
    agents_.resize(driver_.state.agents.size());
    for (std::uint32_t k = 0; k < rules.agents; ++k) begin(AgentId(k), false);
    feed(Prepared{});
    if (rules.late) finished_ = rounds_ = kRounds / 4;  // others have
  }

  void run(int faults) {
    int quiet = 0;
    while (driver_.state.phase != Phase::kOver && quiet < 80'000 &&
           !::testing::Test::HasFailure()) {
      ++quiet;
      driver_.now += kMillisecond / 4;
      if (asks_for_shards_) adopt();
      if (faults > 0 && driver_.state.phase == Phase::kRunning && random_.below(60) == 0) {
        --faults;
        quiet = 0;
        hurt();
      }
      // Somebody reads that it waits and that nobody is started any more.
      if (quiet % 4000 == 3999 && driver_.state.starts_off && driver_.state.waiting_told) {
        feed(ScaleAsked{driver_.state.rules.min_agents});
      }
      for (AgentId k = 0; k < AgentId(agents_.size()); ++k) act(k);
      if (const auto at = next_observation(driver_.state); at && driver_.now >= *at) observe();
      if (const auto at = next_deadline(driver_.state); at && driver_.now >= *at) {
        feed(TimePassed{});
      }
    }
    ASSERT_EQ(driver_.state.phase, Phase::kOver) << "no progress\n" << picture();
  }

  Driver& driver() { return driver_; }
  std::uint64_t rounds() const { return rounds_; }
  std::map<std::string, int> told;
  int faults_done = 0;

 private:
  // Where everybody stands.
  std::string picture() {
    const RunState& state = driver_.state;
    std::string out = lines_of(state);
    for (AgentId k = 0; k < AgentId(agents_.size()); ++k) {
      const Agent& agent = at(k);
      const AgentLife& life = state.agents[std::size_t(k)];
      if (!agent.alive && !life.alive) continue;
      out += line_of(k, agent, life);
    }
    return out;
  }

  Agent& at(AgentId agent) { return agents_.at(std::size_t(agent)); }

  void begin(AgentId id, bool joining) {
    Agent& agent = at(id);
    ASSERT_FALSE(agent.alive);
    // Nobody who lives may still read what the last one left here.
    for (AgentId k = 0; k < AgentId(agents_.size()); ++k) {
      const Agent& other = at(k);
      if (!other.alive || other.finished || !other.view) continue;
      const auto& members = other.view->members;
      EXPECT_FALSE(std::count(members.begin(), members.end(), id)) << "slot " << id;
    }
    agent = Agent{};
    agent.alive = true;
    agent.next_at = driver_.now + Nanoseconds(1 + random_.below(20)) * kMillisecond;
    (void)joining;
  }

  void feed(Event event) {
    const bool asked = driver_.state.adopted || std::holds_alternative<Adopted>(event);
    driver_.feed(std::move(event));
    const std::vector<Action> actions = driver_.newest;
    for (const Action& action : actions) {
      const auto* it = std::get_if<Publish>(&action);
      if (it != nullptr && asked && it->view.first_op == round_op(from_)) {
        since_ = it->view.epoch.number;
      }
      obey(action);
    }
    // But for a while, when newcomers come in before the round.
    const RunState& state = driver_.state;
    if (!mine_ || !state.view || state.view->members.empty() || state.over) return;
    EXPECT_TRUE(state.adopted || shards_here(*state.view) == *mine_);
  }

  void post(AgentId agent, wire::Message message, bool book = false) {
    Nanoseconds due = driver_.now + Nanoseconds(random_.below(3'000'000));
    auto& letters = at(agent).letters;
    if (!letters.empty()) due = std::max(due, letters.back().due);
    letters.push_back({due, std::move(message), book});
  }

  void obey(const Action& action) {
    if (const auto* it = std::get_if<SendWelcome>(&action)) {
      wire::Welcome welcome;
      welcome.joining = it->joining;
      post(it->agent, welcome);
    } else if (const auto* publish = std::get_if<Publish>(&action)) {
      check(publish->view);
      for (const AgentId to : publish->to) post(to, to_message(publish->view), publish->with_book);
    } else if (const auto* propose = std::get_if<SendPropose>(&action)) {
      post(propose->agent, propose->propose);
    } else if (const auto* stop = std::get_if<SendStop>(&action)) {
      post(stop->agent, wire::StopRequest{stop->reason});
    } else if (const auto* kill = std::get_if<Signal>(&action)) {
      if (at(kill->agent).alive) doomed_.push_back(kill->agent);
    } else if (const auto* started = std::get_if<Start>(&action)) {
      begin(started->agent, true);
    } else if (const auto* news = std::get_if<Tell>(&action)) {
      ++told[news->kind];
      EXPECT_FALSE(news->text.empty());
    } else if (std::holds_alternative<TakeBook>(action)) {
      for (const Agent& agent : agents_) {
        EXPECT_FALSE(agent.alive);
        if (agent.book && (!kept_ || *agent.book > *kept_)) kept_ = agent.book;
      }
      asked_for_book_ = true;
    } else if (std::holds_alternative<HostReady>(action)) {
      EXPECT_TRUE(driver_.state.rules.hosted && !mine_);
      asks_for_shards_ = true;
    }
  }

  // The host gets other shards, mostly more: of others that are gone.
  void adopt() {
    asks_for_shards_ = false;
    std::vector<std::uint32_t> shards = other_shards(random_, mine_);
    const Event event = Adopted{shards, finished_, random_.below(4) == 0};
    if (judged_by_words(event) && next_observation(driver_.state)) observe();
    mine_ = std::move(shards);
    from_ = finished_;
    feed(event);
    if (!driver_.state.rules.late || driver_.state.view) return;
    kept_ = finished_;  // other hosts' state and book
    asked_for_book_ = true;
  }

  // Whether the host's sums of the round, with those of other hosts, could be there.
  bool is_added_up(const Agent& agent) const {
    const std::uint64_t round = rounds_before(agent.op);
    if (!mine_ || agent.op != round_op(round) || round < from_) return true;
    return !driver_.state.adopted && agent.view->epoch.number >= since_;
  }

  void check(const View& view) {
    const Status status = validate(view, kShards, 50);
    ASSERT_TRUE(status.ok()) << status.error().message;
    EXPECT_GT(view.epoch, newest_);
    newest_ = view.epoch;
    ASSERT_FALSE(view.members.empty());
    for (const AgentId member : view.members) {
      const Agent& agent = at(member);
      if (!agent.in) continue;
      EXPECT_LE(agent.past, view.first_op) << "agent " << member << " is past the view's first op";
    }
  }

  void observe() {
    Observed seen;
    for (const Agent& agent : agents_) seen.slots.push_back(agent.words);
    feed(std::move(seen));
  }

  void die(AgentId id, int code, int signal) {
    Agent& agent = at(id);
    if (!agent.alive) return;
    agent.alive = false;
    if (next_observation(driver_.state)) observe();
    feed(LinkEnded{id, ""});
    feed(Exited{id, code, signal, agent.words});
  }

  void hurt() {
    ++faults_done;
    if (mine_ && random_.below(3) == 0) return adopt();
    std::vector<AgentId> living;
    for (AgentId k = 0; k < AgentId(agents_.size()); ++k) {
      if (at(k).alive) living.push_back(k);
    }
    if (living.empty()) return;
    const AgentId victim = living[random_.below(living.size())];
    switch (random_.below(9)) {
      case 0:
        return feed(ScaleAsked{std::uint32_t(1 + random_.below(6))});
      case 1:
        if (living.size() > 1) at(victim).asked_to_leave = true;
        return;
      case 2:
      case 3:
        at(victim).stopped = true;
        return;
      case 4:
        if (random_.below(3) == 0) {
          for (const AgentId k : living) doomed_.push_back(k);
        }
        return;
      default:
        doomed_.push_back(victim);
    }
  }

  void act(AgentId id) {
    while (!doomed_.empty()) {
      const AgentId next = doomed_.back();
      doomed_.pop_back();
      die(next, 0, SIGKILL);
    }
    if (asked_for_book_) {
      asked_for_book_ = false;
      feed(BookTaken{kept_});
    }
    Agent& agent = at(id);
    if (!agent.alive || agent.stopped || driver_.now < agent.next_at) return;
    if (agent.finished) return die(id, 0, 0);
    if (!agent.ready) return admit(id);
    while (agent.alive && !agent.letters.empty() && agent.letters.front().due <= driver_.now) {
      const Letter letter = std::move(agent.letters.front());
      agent.letters.pop_front();
      read(id, letter);
      if (agent.finished) return;
    }
    if (agent.asked_to_leave && agent.in) {
      agent.asked_to_leave = false;
      driver_hear(id, wire::Leaving{});
    }
    step(id);
  }

  void driver_hear(AgentId id, wire::Message message) { feed(Heard{id, std::move(message)}); }

  void admit(AgentId id) {
    Agent& agent = at(id);
    if (!driver_.state.agents[std::size_t(id)].said_hello) return driver_hear(id, hello(id));
    if (agent.letters.empty() || agent.letters.front().due > driver_.now) return;
    const Letter letter = std::move(agent.letters.front());
    agent.letters.pop_front();
    if (!std::holds_alternative<wire::Welcome>(letter.message)) return done(id);
    agent.ready = true;
    wire::Ready ready = instep::member::ready();
    ready.shards = kShards;
    ready.blocks = 50;
    ready.first_round = 0;
    driver_hear(id, ready);
  }

  void done(AgentId id) {
    Agent& agent = at(id);
    agent.finished = true;
    if (agent.in) driver_hear(id, wire::Done{"{}"});
  }

  void read(AgentId id, const Letter& letter) {
    Agent& agent = at(id);
    if (const auto* message = std::get_if<wire::ViewMessage>(&letter.message)) {
      View view = *from_message(*message);
      while (!agent.pending.empty() && agent.pending.back().first.first_op >= view.first_op) {
        agent.pending.pop_back();
      }
      agent.pending.emplace_back(std::move(view), letter.book);
    } else if (const auto* propose = std::get_if<wire::Propose>(&letter.message)) {
      if (propose->round == wire::kWithdrawn) {
        if (agent.promise.number == propose->number) agent.promise.round = wire::kWithdrawn;
        return;
      }
      const bool begun = agent.op > round_op(propose->round) ||
                         (agent.op == round_op(propose->round) && agent.begun);
      const bool over = propose->round >= kRounds;
      if (!begun && !over) agent.promise = *propose;
      const std::uint64_t newest = rounds_before(agent.op);
      driver_hear(id, wire::Promise{propose->number, !begun && !over, over, newest});
    } else if (std::holds_alternative<wire::StopRequest>(letter.message)) {
      agent.stop = true;
      if (!agent.in) done(id);
    }
  }

  bool join(AgentId id) {
    Agent& agent = at(id);
    if (agent.pending.empty()) return false;
    const auto has = [id](const std::vector<AgentId>& ids) {
      return std::count(ids.begin(), ids.end(), id) > 0;
    };
    const auto entrance = std::find_if(agent.pending.rbegin(), agent.pending.rend(),
                                       [&](const auto& it) { return has(it.first.joined); });
    const auto [view, book] = entrance == agent.pending.rend() ? agent.pending.front() : *entrance;
    if (!has(view.members)) return false;
    if (has(view.joined) && view.donor >= 0) {
      const Agent& donor = at(view.donor);
      // A plan that was undone since has a round that the donor reaches all the same: only a donor
      // that has taken up this very view lets us in. Else a newer one is on its way.
      if (!donor.in || donor.words.taken != view.epoch.number) return false;
      if (donor.op < view.enters_at) return false;
      if (donor.alive) {
        EXPECT_EQ(donor.op, view.enters_at);  // it waits for us in that round
      }
    } else if (has(view.joined)) {
      EXPECT_TRUE(book);
      EXPECT_EQ(kept_, rounds_before(view.enters_at));
    }
    std::erase_if(agent.pending,
                  [&, taken = view.epoch](const auto& it) { return it.first.epoch <= taken; });
    agent.in = true;
    agent.op = has(view.joined) ? view.enters_at : view.first_op;
    take(agent, view);
    return true;
  }

  void take(Agent& agent, const View& view) {
    agent.view = view;
    agent.begun = false;
    agent.words.taken = view.epoch.number;
    if (agent.promise.number <= view.epoch.number) agent.promise.round = wire::kWithdrawn;
  }

  void step(AgentId id) {
    Agent& agent = at(id);
    ++agent.words.beats;
    agent.words.busy = Busy::kWaiting;
    if (!agent.in && !join(id)) return;
    while (!agent.pending.empty() && agent.pending.front().first.first_op <= agent.op) {
      const View view = agent.pending.front().first;
      agent.pending.pop_front();
      if (!std::count(view.members.begin(), view.members.end(), id)) return done(id);
      take(agent, view);
    }
    const std::uint64_t round = rounds_before(agent.op);
    agent.book = round;
    if (agent.op == round_op(round) && !agent.begun) {
      if (round >= kRounds) return done(id);
      if (agent.promise.round <= round) return;  // promised not to begin it
    }
    const auto who = participants(*agent.view, agent.op);
    int& stage = agent.stages[{agent.view->epoch.number, agent.op}];
    const auto all = [&](int wanted) {
      return std::all_of(who.begin(), who.end(), [&](AgentId other) {
        return reached(at(other), *agent.view, agent.op, wanted);
      });
    };
    if (!agent.begun) {
      agent.begun = true;
      agent.words.started = agent.op;
      agent.words.view = agent.view->epoch.number;
      agent.words.released = agent.op;
      agent.words.busy = Busy::kComputing;
      agent.next_at = driver_.now + Nanoseconds(random_.below(1'500'000));
      return;
    }
    if (stage == 0) {
      stage = 1;
    } else if (stage == 1 && all(1) && is_added_up(agent)) {
      stage = 2;
      if (agent.op == round_op(round)) finished_ = std::max(finished_, round + 1);
      agent.words.released = agent.op + 1;
    } else if (stage == 2 && all(2)) {
      agent.past = agent.op + 1;
      const bool ended_round = agent.op == round_op(round);
      if (ended_round) rounds_ = std::max(rounds_, round + 1);
      // A gather before each third round, two before the last.
      agent.op = ended_round && (round + 1) % 3 == 0 ? gather_op(round + 1, 0)
                 : ended_round                       ? round_op(round + 1)
                                                     : round_op(round);
      agent.begun = false;
      agent.book = rounds_before(agent.op);
    }
  }

  Random random_;
  Driver driver_;
  std::vector<Agent> agents_;
  std::vector<AgentId> doomed_;
  std::optional<std::uint64_t> kept_;
  bool asked_for_book_ = false;
  // A host among several: its shards from a round on, and the rounds that are added up.
  bool asks_for_shards_ = false;
  std::optional<std::vector<std::uint32_t>> mine_;
  std::uint64_t from_ = 0, finished_ = 0;
  std::uint32_t since_ = 0;  // the view by which they are those
  Epoch newest_{0, 0};
  std::uint64_t rounds_ = 0;
};

}  // namespace instep::member
