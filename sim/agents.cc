// A simulated host's agents: they run, sleep, are killed and stopped, and get messages.
#include <signal.h>

#include <algorithm>

#include "base/text.h"
#include "cluster.h"

namespace instep::sim {

void Cluster::schedule(AgentId agent, Nanoseconds after) {
  Slot& it = slot(agent);
  push(after, What::kStep, agent, ++it.token);
}

void Cluster::step(AgentId agent) {
  Slot& it = slot(agent);
  if (!lives(it)) return;
  if (it.stops > 0) {
    it.missed_step = true;
    return;
  }
  it.process->timed_out = (it.asleep_on != nullptr) && !it.woken;
  it.woken = false;
  it.asleep_on = nullptr;
  it.asleep_for_news = false;
  it.still = 0;
  running_ = agent;
  try {
    const Nap nap = it.process->step();
    running_ = -1;
    if (it.process->torn() && (it.die_torn || it.stop_torn)) {
      const bool dies = std::exchange(it.die_torn, false);
      it.stop_torn = false;
      counts.note(dies ? "killed in the midst of stores" : "stopped in the midst of stores");
      if (dies) {
        it.signal = SIGKILL;
        return die(agent);
      }
      stop(agent, upto(100 * kMillisecond));
    }
    if (it.process->done()) {
      it.signal = 0;
      it.doomed = true;
      push(upto(3 * kMillisecond), What::kDie, agent, it.life);
      return;
    }
    it.asleep_on = nap.word;
    it.asleep_for_news = nap.news;
    schedule(agent, nap.time);
  } catch (const Killed&) {
    running_ = -1;
    it.signal = SIGKILL;
    die(agent);
  }
}

void Cluster::wakes(const void* word) {
  if (bridge_ != nullptr) bridge_->woken(word);
  for (AgentId agent = 0; agent < count(); ++agent) {
    Slot& it = slot(agent);
    if (it.asleep_on != word || !lives(it)) continue;
    it.woken = true;
    if (it.stops > 0) {
      it.missed_step = true;
    } else {
      schedule(agent, 3 * kMicrosecond + upto(60 * kMicrosecond));
    }
  }
}

int Cluster::passes(std::string_view failpoint) {
  if (running_ < 0) return 0;
  Slot& it = slot(running_);
  counts.note(cat("failpoint ", failpoint));
  // Within an exchange any step may be the last one anyway.
  for (const std::string_view step : {"exchange.", "update.", "undo."}) {
    if (failpoint.substr(0, step.size()) == step) return 0;
  }
  const bool here = !it.die_where.empty() && it.die_where == failpoint;
  if (here || (it.die_at_point && (*it.die_at_point)-- == 0)) {
    it.die_at_point.reset();
    it.die_where = {};
    counts.note(cat("killed at ", failpoint));
    trace(running_, cat("is killed at ", failpoint));
    throw Killed();
  }
  return 0;
}

std::uint64_t Cluster::tear(AgentId agent, std::uint64_t elements) {
  Slot& it = slot(agent);
  const bool now = it.die_torn || it.stop_torn || random.below(24) == 0;
  return now ? random.below(elements) : elements;
}

void Cluster::start(AgentId agent) {
  Slot& it = slot(agent);
  if (it.process && !it.reaped) throw Violation(cat("agent ", agent, " is started and is there"));
  fabric::AgentWords& words = memory.words(agent);
  it.process.reset();
  std::destroy_at(&words);
  std::construct_at(&words);
  const std::uint64_t life = it.life + 1;
  const std::uint64_t token = it.token;
  it = Slot{};
  it.life = life;
  it.token = token;
  it.told_end = it.reaped = false;
  it.process = std::make_unique<Process>(*this, agent, slowness_[static_cast<std::size_t>(agent)]);
  it.process->tear = [this, agent](std::uint64_t elements) { return tear(agent, elements); };
  counts.note("processes");
  trace(agent, "is started");
  schedule(agent, upto(random.below(3) == 0 ? 60 * kMillisecond : 8 * kMillisecond));
}

void Cluster::kill(AgentId agent, Nanoseconds after, int signal) {
  Slot& it = slot(agent);
  if (!lives(it) || it.doomed) return;
  it.doomed = true;
  it.signal = signal;
  trace(agent, "gets a signal that kills");
  if (plant == Plant::kEarlyProof) {
    it.proved = it.link_ended = true;
    after += upto(500 * kMillisecond);
    look_again();
  }
  push(after, What::kDie, agent, it.life);
}

// It executes nothing any more. That it is so is known later.
void Cluster::die(AgentId agent) {
  Slot& it = slot(agent);
  if (it.dead) return;
  it.dead = true;
  it.doomed = true;
  if (it.signal != 0) killed_in_ = std::max(killed_in_, begun_);
  ++it.token;
  it.in.clear();
  trace(agent, cat("is dead, signal ", it.signal));
  push(upto(random.below(3) == 0 ? 30 * kMillisecond : 500 * kMicrosecond), What::kProof, agent,
       it.life);
  if (random.below(2) == 0) {  // its link may be seen to end before
    it.link_ended = true;
    look_again();
  }
}

void Cluster::stop(AgentId agent, Nanoseconds time, bool alone) {
  Slot& it = slot(agent);
  if (!lives(it)) return;
  ++it.stops;
  if (alone && !it.still_since) it.still_since = now();
  trace(agent, cat("is stopped for ", time / kMicrosecond, " us"));
  push(time, What::kContinue, agent, it.life);
}

void Cluster::go_on(AgentId agent) {
  Slot& it = slot(agent);
  if (!lives(it) || it.stops == 0) return;
  --it.stops;
  if (it.stops > 0) return;
  it.still += now() - it.still_since.value_or(now());
  it.still_since.reset();
  trace(agent, "goes on");
  for (std::size_t i = 0; i < it.in.size(); ++i) {
    push(upto(200 * kMicrosecond), What::kDeliver, agent, it.life);
  }
  if (it.missed_step) schedule(agent, upto(200 * kMicrosecond));
  it.missed_step = false;
}

// To an agent, in order.
void Cluster::post(AgentId agent, wire::Message message) {
  Slot& it = slot(agent);
  if (!lives(it)) {
    tell(member::LinkEnded{agent, ""});
    return;
  }
  it.in.push_back(std::move(message));
  const Nanoseconds slow = random.below(30) == 0 ? 20 * kMillisecond : 200 * kMicrosecond;
  it.in_at = std::max(it.in_at, now() + 5 * kMicrosecond + upto(slow));
  push(it.in_at - now(), What::kDeliver, agent, it.life);
}

void Cluster::deliver(AgentId agent) {
  Slot& it = slot(agent);
  if (!lives(it) || it.stops > 0 || it.in.empty()) return;
  const wire::Message message = std::move(it.in.front());
  it.in.pop_front();
  it.process->hear(message);
  if (it.asleep_for_news) {
    it.asleep_for_news = false;
    schedule(agent, 3 * kMicrosecond + upto(50 * kMicrosecond));
  }
  if (const void* word = it.process->asleep_on()) wakes(word);
}

void Cluster::send(AgentId from, wire::Message message) {
  Slot& it = slot(from);
  const Nanoseconds slow = random.below(30) == 0 ? 20 * kMillisecond : 100 * kMicrosecond;
  it.out_at = std::max(it.out_at, now() + 5 * kMicrosecond + upto(slow));
  it.out.emplace_back(it.out_at, std::move(message));
  look_again();
}

}  // namespace instep::sim
