// The hub of a run's hosts, beside the coordinator on the first one: lets hosts in by their tokens,
// gives them certificates, the job, its files and its data, and tells all what member/hosts.h
// decides. On the loop's thread, but for what is marked.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "coord/audit.h"
#include "coord/bridge.h"
#include "coord/door.h"
#include "fabric/authority.h"
#include "fabric/loop.h"
#include "fabric/probe.h"
#include "fabric/token_book.h"
#include "member/hosts.h"
#include "member/patience.h"
#include "wire/host_message.h"

namespace instep::coord {

class Hub : private fabric::TlsLink::Sink {
 public:
  // What others get from this host.
  struct Goods {
    std::string what;
    Fd file;
    std::uint64_t bytes = 0;
  };
  struct Plan {
    std::string run, job_json, job_toml;
    std::vector<wire::HostFile> files;
    std::vector<Goods> goods;  // of the files
    bool has_dataset = false;
    member::HostsRules rules;
    std::string name, address;  // of the first host
    std::uint32_t agents = 1;   // on it
    std::string warning;        // noted in the audit when it begins
  };
  Hub(fabric::Loop& loop, Plan plan, fabric::Authority authority, fabric::TokenBook tokens,
      Audit audit);
  ~Hub() override;

  // The first host's bridge, which hears what other hosts hear. Before anything else.
  void use(Bridge& bridge);
  // A link's first message: see Door.
  fabric::TlsLink::Sink* first(const Door::Link& link, const wire::HostMessage& message);
  void turned_away(const std::string& address, const Error& why);
  // Of the first host's bridge.
  void hear(std::uint32_t host, const wire::HostMessage& message);
  // From any thread: the data is there.
  Status dataset(const Fd& image);

 private:
  struct Guest {
    Door::Link link;  // null: it is lost, and may come back
    std::string name, address;
    std::vector<std::byte> message;
    bool gone = false;
    std::optional<wire::HostWants> wants;  // what is sent to it, from where on
    fabric::Timer patience;
  };

  Result<std::span<std::byte>> place(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  Status took(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  void closed(fabric::TlsLink& link, const Error& why) override;

  wire::HostMessage let_in(const Door::Link& link, const wire::Enroll& enroll);
  fabric::TlsLink::Sink* welcome(const Door::Link& link, const wire::HostHello& hello);
  void happen(member::HostsEvent event);
  void act(const member::HostsAction& action);
  void act(const member::Begin& action);
  void act(const member::TellLineup& action);
  void act(const member::Wait& action);
  void act(const member::GiveUp& action);
  void act(const member::EndRun& action);
  void refuse(std::uint32_t host, const Error& why);
  void turn_out(std::uint32_t host, const Error& why);
  void send(std::uint32_t host, const wire::HostMessage& message);
  void hear_wish(std::uint32_t host, const wire::HostWants& wants);
  const Goods* goods(std::uint32_t number) const;
  void send_piece(std::uint32_t host);
  void look_for(std::uint32_t host, const std::string& why, member::Patience patience);
  void lose(std::uint32_t host, const std::string& why);
  void note(AuditEvent event);
  void set_timer();
  Guest* guest_of(const fabric::TlsLink& link, std::uint32_t& host);

  fabric::Loop& loop_;
  const Plan plan_;
  const fabric::Authority authority_;
  fabric::TokenBook tokens_;
  Audit audit_;
  Bridge* bridge_ = nullptr;
  member::HostsState state_;
  std::map<std::uint32_t, Guest> guests_;  // but the first host
  std::uint32_t next_host_ = 1;
  std::shared_ptr<const Goods> data_;
  fabric::Timer timer_;
  bool waits_ = false;  // for hosts to join, since too few are left
};

}  // namespace instep::coord
