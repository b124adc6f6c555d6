// What the coordinator's decisions cost: processor time of decide() for the events that come often
// (agents' words) or while somebody waits (deaths, planned views), with a cluster of any size.
//
//   decide_bench AGENTS SHARDS   prints {"words": [ms, …], "death": […], "planned": […]}
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "member/decide.h"

namespace instep::member {
namespace {

class Cluster {
 public:
  Cluster(std::uint32_t agents, std::uint32_t shards) : shards_(shards) {
    Rules rules;
    rules.agents = agents;
    rules.slots = 2 * agents;
    state_ = begin(rules);
    words_.resize(rules.slots);
    feed("", Prepared{});
    for (std::uint32_t k = 0; k < agents; ++k) hello(static_cast<AgentId>(k));
    for (std::uint32_t k = 0; k < agents; ++k) ready("", static_cast<AgentId>(k));
  }

  // All have done some rounds since the last look.
  void look() {
    for (const AgentId agent : view().members) {
      Words& words = words_[static_cast<std::size_t>(agent)];
      words.started = words.released = round_op(round_);
      words.view = view().epoch.number;
      words.taken = words.view;
      ++words.beats;
    }
    round_ += 5;
    now_ += 50'000'000;
    feed("words", Observed{words_});
  }

  void lose(std::size_t place) {
    const AgentId agent = view().members[place];
    feed("death", Exited{agent, 0, 9, words_[static_cast<std::size_t>(agent)], 0});
    std::vector<AgentId> started;
    for (const Action& action : actions_) {
      if (const auto* start = std::get_if<Start>(&action)) started.push_back(start->agent);
    }
    look();
    for (const AgentId newcomer : started) {
      hello(newcomer);
      ready("planned", newcomer);
    }
    if (!state_.plan) return;
    const auto asked = state_.plan->asked;
    wire::Promise promise;
    promise.number = state_.plan->number;
    promise.kept = true;
    promise.round = state_.plan->round - 1;
    for (const AgentId member : asked) feed("planned", Heard{member, promise});
    round_ = promise.round + 2;
  }

  const View& view() const { return *state_.view; }
  const std::map<std::string, std::vector<double>>& times() const { return times_; }

 private:
  void feed(const char* kind, Event event) {
    const auto now = [] {
      timespec time{};
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
      return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
    };
    const double before = now();
    Decision decision = decide(std::move(state_), std::move(event), now_);
    const double took = now() - before;
    state_ = std::move(decision.state);
    actions_ = std::move(decision.actions);
    if (*kind != '\0') times_[kind].push_back(took);
  }
  void hello(AgentId agent) {
    feed("", Heard{agent, wire::Hello{wire::kProtocol, agent, 100 + agent, {{"build", "b"}}}});
  }
  void ready(const char* kind, AgentId agent) {
    constexpr std::uint64_t kBlocks = 100'000;
    wire::Ready it;
    it.job_json = "{}";
    it.job_hash = "job";
    it.shards = shards_;
    it.blocks = kBlocks;
    it.owners = "all";
    it.state_hash = "state";
    feed(kind, Heard{agent, it});
  }

  const std::uint32_t shards_;
  RunState state_;
  std::vector<Action> actions_;
  std::vector<Words> words_;
  std::uint64_t round_ = 0;
  Nanoseconds now_ = 0;
  std::map<std::string, std::vector<double>> times_;
};

}  // namespace
}  // namespace instep::member

int main(int argc, char** argv) {
  const long agents = argc == 3 ? std::strtol(argv[1], nullptr, 10) : 0;
  const long shards = argc == 3 ? std::strtol(argv[2], nullptr, 10) : 0;
  constexpr long kMost = 100'000;
  if (agents < 1 || agents > kMost || shards < agents || shards > kMost) {
    std::fputs("usage: decide_bench AGENTS SHARDS (at least as many)\n", stderr);
    return 2;
  }
  instep::member::Cluster cluster(static_cast<std::uint32_t>(agents),
                                  static_cast<std::uint32_t>(shards));
  for (std::size_t k = 0; k < 20; ++k) {
    cluster.look();
    cluster.lose(k * 7 % cluster.view().members.size());
    cluster.look();
    cluster.look();
  }
  std::printf("%s\n", nlohmann::json(cluster.times()).dump().c_str());
}
