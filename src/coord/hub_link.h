// A host's link to the hub of its run: lets itself in, hears what the run is, gets its files and
// its data, and hands on what is said either way. Lost, it is made again, for as long as the
// patience lasts. On the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "coord/arrivals.h"
#include "fabric/join_line.h"
#include "fabric/tls_link.h"
#include "fabric/tls_listener.h"
#include "wire/host_message.h"

namespace instep::coord {

// What a host has become by joining.
struct Membership {
  std::uint32_t host = 0;
  fabric::Identity identity;
};

// First contact: shows the token to whom the line's fingerprint names, and gets a certificate.
// `disbelief` is what is said where the fingerprint is another one; empty: as of a line that
// somebody has typed. `joined` is called once.
void enroll(fabric::Loop& loop, const fabric::JoinLine& line, const std::string& name,
            std::int64_t limit_ms, const std::string& disbelief,
            const std::function<void(Result<Membership>)>& joined);

class HubLink : private fabric::TlsLink::Sink {
 public:
  struct Plan {
    fabric::Address hub;
    Membership me;
    wire::HostHello hello;
    std::int64_t patience_ms = 10'000;  // without the hub
  };
  struct Handler {
    std::function<void(const wire::HostMessage&)> hear;  // HostWelcome first
    // All that was asked for is here: the data's image, invalid where the job has none. Or it
    // cannot be had, and the link is over.
    std::function<void(Result<Fd>)> arrived;
    std::function<void(const std::string& why)> lost;  // for good
  };
  HubLink(fabric::Loop& loop, Plan plan, Handler handler);
  ~HubLink() override;

  void send(const wire::HostMessage& message);
  // Once, after HostWelcome: has all of this sent.
  void fetch(Arrivals arrivals);
  // No word more to anybody.
  void close();

 private:
  Result<std::span<std::byte>> place(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  Status took(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  void closed(fabric::TlsLink& link, const Error& why) override;
  void connect(std::int64_t limit_ms);
  void give_up(const std::string& why);
  void look();
  Result<std::span<std::byte>> place_piece(const fabric::FrameHead& head);
  Status took_piece(const fabric::FrameHead& head);
  void ask();
  void give_back(const Error& why);

  fabric::Loop& loop_;
  const Plan plan_;
  const Handler handler_;
  std::shared_ptr<fabric::TlsLink> link_;
  fabric::Timer again_;
  std::vector<std::byte> message_;
  std::optional<Arrivals> arrivals_;  // while something is missing
  bool over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace instep::coord
