// The host on which a run of many hosts is begun: its loop, its listener, the hub, and its own
// bridge. Made before its launcher, and gone after it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "coord/bridge.h"
#include "coord/door.h"
#include "coord/hub.h"
#include "coord/job_files.h"
#include "fabric/join_line.h"
#include "fabric/shared_secret.h"
#include "fabric/tls_listener.h"
#include "job/job.h"

namespace instep::coord {

// What it means that anybody can join, for logs.
std::string insecure_warning(const fabric::Address& address);

class FirstHost {
 public:
  struct Plan {
    std::filesystem::path run_dir;
    fabric::Address listen;
    std::string job_toml;
    job::Job job;
    std::uint32_t agents = 1;  // on this host
    member::HostsRules rules;  // agents of all hosts
    // That the join line is good for; none: as long as the run.
    std::optional<std::int64_t> token_seconds = 3600;
    // Of hosts that make the join line themselves: it is good as long as the run, and its address
    // is that by which they know this host.
    std::optional<fabric::SharedKeys> shared;
    std::optional<fabric::Address> known_as;
    std::string listen_advice;  // what to do where another program has the port
    bool insecure = false;      // `shared` is known to everybody: for the audit
  };
  static Result<std::unique_ptr<FirstHost>> open(const Plan& plan);
  ~FirstHost();

  Bridge& bridge() { return *bridge_; }
  // What to type on the other machines.
  const fabric::JoinLine& line() const { return line_; }
  // Where the files that the job names lie here.
  const LocalFiles& files() const { return files_; }
  // The job's data is there: the others get it.
  Status dataset(const Fd& image) { return hub_->dataset(image); }

 private:
  FirstHost() = default;
  Status listen(const Plan& plan, const fabric::Identity& identity);
  Result<fabric::TokenBook> open_line(const Plan& plan, const fabric::Authority& authority);

  fabric::JoinLine line_;
  LocalFiles files_;
  fabric::Loop loop_;
  std::unique_ptr<Door> door_;
  std::unique_ptr<fabric::TlsListener> listener_;
  std::unique_ptr<Bridge> bridge_;
  std::unique_ptr<Hub> hub_;
};

}  // namespace instep::coord
