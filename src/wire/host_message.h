// What hosts and the hub say to each other, and its bounded codec: CBOR in the payload of a link's
// frame (fabric/tls_link.h). The hub is the coordinator's ear for hosts; host 0 is its own.
// decode_host() trusts nothing: a malformed message is an Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "wire/message.h"

namespace instep::wire {

// Changes with whatever two hosts must agree on that is no part of the job.
inline constexpr std::uint32_t kHostProtocol = 6;
inline constexpr std::size_t kMaxHostMessageBytes = std::size_t{4} << 20;
// Of a host that has not proved itself.
inline constexpr std::size_t kMaxFirstMessageBytes = std::size_t{16} << 10;

// To the hub, on a link without a certificate: let me in. Answered by Enrolled or Failed.
struct Enroll {
  std::uint32_t protocol = kHostProtocol;
  std::string token, request;  // a PEM certificate request
  std::string version, name;
};
struct Enrolled {
  std::uint32_t host = 0;
  std::string certificate, authority;  // PEM
};

// The first message on the link over which a host hears the hub. Answered by HostWelcome or Failed.
struct HostHello {
  std::uint32_t protocol = kHostProtocol;
  std::string name;
  std::uint32_t agents = 1;
  // Where it hears other hosts; no address: the one that its link comes from.
  std::string address;
  std::uint16_t port = 0;
};
// A file that the job names beside its data.
struct HostFile {
  std::string key;  // of the job, by which it is named there: "model.file"
  std::uint64_t bytes = 0;
  std::string sha256;
};
struct HostWelcome {
  std::string run, job_json, job_toml;
  std::vector<HostFile> files;
  bool has_dataset = false;
  bool begun = false;  // the host gets the state from one that has it
};
// To the hub: send me this from that byte on, as soon as it is there. What is said of goods once is
// said again only on another link.
struct HostWants {
  std::uint32_t goods = 0;  // a number of HostWelcome's files; behind the last: the data's image
  std::uint64_t from = 0;
};
// The first message on a link between two hosts, from the one that made it.
struct PeerHello {
  std::uint32_t protocol = kHostProtocol;
};

// To the hub: all my agents are ready, and this is what they are to train on.
struct HostReady {
  std::string job_hash, state_hash;
  std::uint32_t shards = 0;
  std::uint64_t blocks = 0, first_round = 0;
  std::map<std::string, std::string> fingerprint;
};
struct HostStands {
  std::uint32_t number = 0;
  std::uint64_t done = 0;  // rounds
  bool empty = false;      // it came late, and has not got the state yet
};
struct HostTook {
  std::uint32_t number = 0;
};
struct HostBroken {
  std::uint32_t peer = 0;
};
// The answer to HostsAsk: other hosts of the line-up to which it has no link.
struct HostLacks {
  std::uint32_t number = 0;
  std::vector<std::uint32_t> peers;
};
// What it has seen of its line in some rounds of a line-up (member/lines.h): no more often than
// every other second, and short however many hosts there are.
struct HostMeasured {
  std::uint32_t number = 0;
  std::uint64_t round_us = 0;
  std::uint64_t sent = 0, rate = 0;  // bytes a round, bytes a second
  bool full = false;
  std::vector<std::uint32_t> slow;  // at most kMostSlow
  std::vector<std::uint64_t> slow_rates;
};
inline constexpr std::size_t kMostSlow = 16;
struct HostLeaves {};
struct HostDone {};
// It is asked to stop, where that is meant for all: the first host alone decides it, and others
// tell it so.
struct HostStops {};

// From the hub.
struct HostsBegin {
  std::vector<std::uint32_t> ids;
  std::vector<std::string> names, addresses;
};
struct HostsLineup {
  std::uint32_t number = 0;
  std::uint64_t first_round = 0;
  std::optional<std::uint32_t> donor;
  std::vector<std::uint32_t> newcomers;
  std::vector<std::uint32_t> ids;
  std::vector<std::vector<std::uint32_t>> shards;
  std::vector<std::uint64_t> first_block, blocks;
  std::vector<std::uint32_t> agents;
};
struct HostsGo {
  std::uint32_t number = 0;
};
// Stop exchanging, cut these off, and say where you stand.
struct HostsHalt {
  std::uint32_t number = 0;
  std::vector<std::uint32_t> lost;
};
// Not all have taken the line-up for long: which links are missing?
struct HostsAsk {
  std::uint32_t number = 0;
};
// Too few agents are left, and nobody goes on before others have joined; for so long.
struct HostsWait {
  std::uint64_t agents = 0, least = 0;
  std::uint64_t limit_ms = 0;
};
// Nobody has joined: the run stops with whoever is left, and each host ends with this error.
struct HostsGiveUp {
  std::string why;
};
// All that are in the run are done.
struct HostsEnd {};

using HostMessage =
    std::variant<Enroll, Enrolled, HostHello, HostWelcome, HostWants, PeerHello, HostReady,
                 HostStands, HostTook, HostBroken, HostLacks, HostMeasured, HostLeaves, HostDone,
                 HostStops, HostsBegin, HostsLineup, HostsGo, HostsHalt, HostsAsk, HostsWait,
                 HostsGiveUp, HostsEnd, Failed>;

std::vector<std::byte> encode_host(const HostMessage& message);
Result<HostMessage> decode_host(std::span<const std::byte> body);

}  // namespace instep::wire
