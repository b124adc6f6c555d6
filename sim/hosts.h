// A run of several hosts, each a whole Cluster with a bridge, the first one with the hub, and the
// links between them, on one timeline.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster.h"
#include "hub.h"
#include "network.h"
#include "simulate.h"

namespace instep::sim {

class Hosts {
 public:
  Hosts(const Options& options, const Job& job, Random& random, Counts& counts);
  ~Hosts();
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;

  Report run();

 private:
  struct One {
    std::unique_ptr<Memory> memory;
    std::unique_ptr<Cluster> cluster;
    std::unique_ptr<Loop> loop;
    std::unique_ptr<Bridge> bridge;
    std::unique_ptr<HubLink> link;  // but the first
  };

  void add(std::uint32_t agents);
  void ends(HostId host);
  void watch(const member::HostsAction& action);
  bool over() const;
  void check(HostId host) const;
  void trace(const std::string& what) const;

  const Options options_;
  const Job& job_;
  Random& random_;
  Counts& counts_;
  Timeline timeline_;
  Oracle oracle_;
  Network net_;
  std::vector<std::unique_ptr<One>> hosts_;
  std::unique_ptr<Hub> hub_;
};

Report simulate_hosts(const Options& options);

}  // namespace instep::sim
