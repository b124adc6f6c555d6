// A hub of hosts, for this folder's tests.
#pragma once

#include <gtest/gtest.h>

#include <utility>
#include <variant>
#include <vector>

#include "base/text.h"
#include "base/time.h"
#include "member/hosts.h"

namespace instep::member {

inline HostFacts facts() {
  HostFacts out;
  out.job_hash = "job";
  out.state_hash = "state";
  out.first_round = 7;
  out.shards = 8;
  out.blocks = 100;
  out.fingerprint = {{"build", "b"}, {"processor", "p"}, {"capability", "c"}, {"probe", "x"}};
  return out;
}

// Drives decide_hosts() and remembers what it asked for.
struct Hub {
  explicit Hub(std::uint32_t least = 2, std::uint32_t most = 2) {
    state = begin_hosts({least, most});
  }
  void feed(HostsEvent event) {
    HostsDecision decision = decide_hosts(std::move(state), std::move(event), now);
    state = std::move(decision.state);
    newest = std::move(decision.actions);
  }
  void join(HostId host, std::uint32_t agents = 1) {
    feed(HostJoined{host, cat("h", host), cat("address ", host), agents});
  }
  void ready(HostId host) { feed(HostIsReady{host, facts()}); }
  // So many hosts with an agent each, that have gone on.
  void to_running(HostId hosts) {
    for (HostId host = 0; host < hosts; ++host) join(host);
    for (HostId host = 0; host < hosts; ++host) ready(host);
    for (HostId host = 0; host < hosts; ++host) feed(HostTook{host, 1});
    ASSERT_EQ(state.phase, HostsPhase::kRunning);
  }
  // The one action of that kind that the newest event led to, if there is one.
  template <class T>
  const T* asked() const {
    const T* out = nullptr;
    for (const HostsAction& action : newest) {
      if (const T* it = std::get_if<T>(&action)) {
        EXPECT_EQ(out, nullptr);
        out = it;
      }
    }
    return out;
  }
  const Lineup& lineup() const { return *state.lineup; }

  HostsState state;
  Nanoseconds now = 0;
  std::vector<HostsAction> newest;
};

}  // namespace instep::member
