// A model agent of testing_cluster.h.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/text.h"
#include "member/step.h"
#include "member/testing.h"

namespace instep::member {

inline constexpr std::uint64_t kRounds = 40;
inline constexpr std::uint32_t kShards = 6;

struct Letter {
  Nanoseconds due;
  wire::Message message;
  bool book = false;  // one lies beside it
};

// One process. What others may read of it stays when it dies: `stage`, `op`, `done`.
struct Agent {
  bool alive = false, stopped = false, ready = false, in = false, finished = false;
  std::deque<Letter> letters;
  Nanoseconds next_at = 0;
  std::optional<View> view;  // taken up
  std::deque<std::pair<View, bool>> pending;
  std::map<std::pair<std::uint32_t, Op>, int> stages;  // 1: published, 2: finished
  Op op = 0, past = 0;  // that it is at; behind the one that it did last
  bool begun = false, stop = false, asked_to_leave = false;
  wire::Propose promise{0, wire::kWithdrawn};
  Words words;
  std::optional<std::uint64_t> book;
};

// Of a host that had `mine`: mostly more than those.
inline std::vector<std::uint32_t> other_shards(
    Random& random, const std::optional<std::vector<std::uint32_t>>& mine) {
  std::vector<std::uint32_t> out;
  const bool grows = mine && random.below(4) != 0;
  while (out.empty()) {
    for (std::uint32_t shard = 0; shard < kShards; ++shard) {
      const bool kept = grows && std::count(mine->begin(), mine->end(), shard) > 0;
      if (random.below(2) == 0 || kept) out.push_back(shard);
    }
  }
  return out;
}

// Whether `other` has done so much of the op under the view, as its memory says.
inline bool reached(const Agent& other, const View& view, Op op, int stage) {
  const auto found = other.stages.find({view.epoch.number, op});
  return found != other.stages.end() && found->second >= stage;
}

inline std::string line_of(AgentId id, const Agent& agent, const AgentLife& life) {
  return cat("agent ", id, agent.alive ? "" : " dead", agent.stopped ? " stopped" : "",
             agent.ready ? " ready" : "", agent.in ? " in" : "", agent.finished ? " finished" : "",
             life.alive ? "" : " thought dead", life.leaving ? " leaving" : "",
             life.told_to_end ? " told to end" : "", " view ",
             agent.view ? agent.view->epoch.number : 0, " pending ", agent.pending.size(),
             " letters ", agent.letters.size(), " op ", rounds_before(agent.op), ":",
             agent.op & kRoundOp, agent.begun ? " begun" : "", " promise ", agent.promise.number,
             "\n");
}

inline std::string lines_of(const RunState& state) {
  std::string out =
      cat("wanted ", state.wanted, " min ", state.rules.min_agents, " over ", int(state.over),
          " starts off ", int(state.starts_off), " before ", int(state.before.has_value()),
          " restart ", int(state.restart.has_value()), "\n");
  if (state.plan) out += cat("plan ", state.plan->number, " at round ", state.plan->round, "\n");
  if (state.view) {
    out += cat("view ", state.view->epoch.number, " at ", rounds_before(state.view->first_op), ":",
               state.view->first_op & kRoundOp, " ", named("member", state.view->members), " ",
               named("joined", state.view->joined), " donor ", state.view->donor, "\n");
  }
  return out;
}

}  // namespace instep::member
