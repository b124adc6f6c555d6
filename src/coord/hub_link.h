// A host's link to the hub of its run: lets itself in, hears what the run is, gets its data, and
// hands on what is said either way. Lost, it is made again, for as long as the patience lasts. On
// the loop's thread.
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
#include "fabric/host_memory.h"
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
    std::function<void(Result<Fd>)> dataset;             // the whole image
    std::function<void(const std::string& why)> lost;    // for good
  };
  HubLink(fabric::Loop& loop, Plan plan, Handler handler);
  ~HubLink() override;

  void send(const wire::HostMessage& message);
  // No word more to anybody.
  void close();

 private:
  Result<std::span<std::byte>> place(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  Status took(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  void closed(fabric::TlsLink& link, const Error& why) override;
  void connect(std::int64_t limit_ms);
  void give_up(const std::string& why);
  void look();
  Result<std::span<std::byte>> place_data(const fabric::FrameHead& head);
  Status took_data(const fabric::FrameHead& head);

  fabric::Loop& loop_;
  const Plan plan_;
  const Handler handler_;
  std::shared_ptr<fabric::TlsLink> link_;
  fabric::Timer again_;
  std::vector<std::byte> message_;
  Fd data_;
  fabric::Mapping data_map_;
  std::uint64_t data_bytes_ = 0, data_there_ = 0;
  bool over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace instep::coord
