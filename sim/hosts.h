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

enum class HostFault {
  kBreakLink,  // of two hosts, or of one to the hub
  kBreakTwo,   // one behind the other
  kPartition,  // two hosts, or one and all others; both ways or one, healed before the patience
  kStand,      // its network thread alone, for a while
  kSuspend,    // a whole host
  // Those that a host is lost by, or may be.
  kKill,           // all of a host's processes
  kKillFirst,      // the first one's
  kVanish,         // its machine: nobody hears so
  kLeave,          // SIGTERM
  kPartitionLong,  // about as long as the patience, or longer
  kSuspendLong,
  kStop,  // of the run, on the first one
  kJoin,  // another host comes
  kLast = kJoin
};
const char* name_of(HostFault fault);

class Hosts final : private Actor {
 public:
  Hosts(const Options& options, const Job& job, Random& random, Counts& counts);
  ~Hosts() override;
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
    // What may become of it: it comes, and may be refused; it ends with the others; it may be lost,
    // or lose the others; it goes; it is no more.
    enum class Fate { kComes, kWell, kMayGo, kGoes, kDead } fate = Fate::kWell;
    std::uint64_t owes = 0;  // rounds that it does whatever happens
  };

  enum class What : std::uint32_t { kFault, kHeal, kBreak, kInWait };
  void happen(const Event& event) override;
  void add(std::uint32_t agents, bool late);
  void ends(HostId host);
  void watch(const member::HostsAction& action);
  void watch_go();
  void watch_wait(const member::Wait& wait);
  void round_begun(HostId host, std::uint64_t round);
  bool over() const;
  void check(HostId host) const;
  void check_together() const;
  void trace(const std::string& what) const;

  // hosts_faults.cc: what goes wrong between hosts, and when.
  void plan_faults();
  void inject();
  bool inject(HostFault fault);
  void break_in_lineup();
  void happens_in_wait();
  bool partition(bool patient);
  bool suspend(bool patient);
  bool kill(HostId host, bool vanishes);
  bool join();
  void may_go(HostId host);
  void may_be_alone(HostId host);
  void block(const std::vector<std::pair<HostId, HostId>>& ways, Nanoseconds time);
  void heal();
  std::vector<HostId> living() const;
  HostId pick(const std::vector<HostId>& from) { return from[random_.below(from.size())]; }
  Nanoseconds time_apart(bool patient);

  const Options options_;
  const Job& job_;
  Random& random_;
  Counts& counts_;
  Timeline timeline_;
  Oracle oracle_;
  Network net_;
  std::vector<std::unique_ptr<One>> hosts_;
  std::unique_ptr<Hub> hub_;

  struct Planned {
    std::uint64_t round = 0;
    HostFault fault = HostFault::kBreakLink;
  };
  std::vector<Planned> faults_;  // in order
  std::size_t next_fault_ = 0;
  bool fault_due_ = false;
  std::uint64_t tries_ = 0;  // of the fault that is due
  std::uint64_t injected_ = 0;
  bool stop_asked_ = false;
  Nanoseconds waits_until_ = 0;                     // for hosts to join
  std::uint64_t begun_ = 0;                         // the newest round, plus one
  std::uint64_t begun_at_wait_ = 0;                 // the same, when it began to stand still
  std::vector<std::pair<HostId, HostId>> blocked_;  // until they are healed
};

Report simulate_hosts(const Options& options);

}  // namespace instep::sim
