// A host that has joined a run: its loop, its links, its bridge. Made before its launcher, which
// needs the job that it brings, and gone after it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "coord/bridge.h"
#include "coord/door.h"
#include "coord/hub_link.h"
#include "coord/job_files.h"
#include "fabric/join_line.h"
#include "fabric/tls_listener.h"
#include "job/job.h"

namespace instep::coord {

class JoinedHost {
 public:
  struct Plan {
    fabric::JoinLine line;
    std::string name;                       // for people
    std::uint32_t agents = 1;               // that it brings
    std::optional<fabric::Address> listen;  // where other hosts reach it; none: as the hub does
    std::int64_t meet_ms = 30'000;          // for the hub to be there
    std::int64_t patience_ms = 30'000;      // without it, later
    std::string disbelief;                  // enroll()
  };
  // Blocks until the hub has let it in and said what the job is.
  static Result<std::unique_ptr<JoinedHost>> join(Plan plan);
  ~JoinedHost();

  Bridge& bridge() { return *bridge_; }
  const wire::HostWelcome& welcome() const { return welcome_; }
  const job::Job& job() const { return job_; }
  // Has the job's files and its data sent; the bridge says when all is here (DataCame). Where the
  // files will lie then.
  LocalFiles fetch(const std::filesystem::path& run_dir);

 private:
  explicit JoinedHost(Plan plan);
  Result<Membership> enrolled();
  Status open();
  Status welcomed();
  fabric::TlsLink::Sink* first(const Door::Link& link, const wire::HostMessage& message);
  void hear(const wire::HostMessage& message);

  const Plan plan_;
  Membership me_;
  wire::HostWelcome welcome_;
  job::Job job_;
  fabric::Loop loop_;
  std::unique_ptr<Door> door_;
  std::unique_ptr<fabric::TlsListener> listener_;
  std::unique_ptr<HubLink> hub_;
  std::unique_ptr<Bridge> bridge_;
  std::function<void(Status)> on_welcome_;  // once; on the loop's thread
};

// The address from which this machine reaches another: what others can reach it by, if they can at
// all.
Result<std::string> address_towards(const fabric::Address& other);

}  // namespace instep::coord
