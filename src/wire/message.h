// The control messages between the coordinator and an agent, and their bounded codec. A frame is a
// little-endian u32 length, at most kMaxFrameBytes, and that many bytes of CBOR; descriptors travel
// beside a frame where the socket allows it. decode() trusts nothing: a malformed frame is an
// Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"

namespace instep::wire {

inline constexpr std::uint32_t kProtocol = 3;
inline constexpr std::size_t kMaxFrameBytes = std::size_t{4} << 20;

// A member::View in wire form; the coordinator and the agent convert (wire is below member). Beside
// one whose donor is -1 and that somebody joins lies the descriptor of a book to join by.
struct ViewMessage {
  std::uint32_t generation = 0, number = 0;
  std::uint64_t first_op = 0, enters_at = 0;
  std::int32_t donor = -1;
  std::vector<std::int32_t> members, spares, joined, shard_agent;
  std::vector<std::uint64_t> slice_first_block, slice_blocks;
  std::vector<std::int32_t> slice_owner;
};

// Agent to coordinator: first message. Everything that must agree before two agents may train
// together is in `fingerprint` (build, processor, capability, threads, settings, probe hash).
struct Hello {
  std::uint32_t protocol = kProtocol;
  std::int32_t agent = -1;
  std::int64_t pid = 0;
  std::map<std::string, std::string> fingerprint;
};

// Coordinator to agent. Descriptors beside it: control, state, dataset (or none), the bridge's
// arena (or none), arena 0…slots-1.
struct Welcome {
  std::uint32_t slots = 0;       // agent slots that the host's memory has
  std::uint32_t processors = 1;  // that all agents of the host share
  bool has_dataset = false;
  bool has_world = false;  // one of several hosts: rounds go through its bridge
  bool joining = false;    // the run has begun: wait for a view, and take the state from its donor
  std::string mode;        // "train", "evaluate", "predict" or "export"
  std::string job_json;    // the resolved job; empty for a program without a job file
  std::string job_toml, job_name,
      job_folder;  // for a program: file text to resolve over its defaults
  std::vector<std::string> sets;
  std::string run_dir;
  std::string checkpoint;     // folder to start from; empty: from the seed
  std::string predict_input;  // mode "predict"; "export": the folder
  // By their keys in the job: where files that it names lie here, if not where it says.
  std::map<std::string, std::string> files;
};

// Agent to coordinator, when the model is shared and the job known.
struct Ready {
  std::string job_json, job_hash;
  std::uint32_t shards = 0;
  std::uint64_t blocks = 0;
  std::string owners;  // "all" or "servers"
  std::uint32_t servers = 0;
  std::uint64_t first_round = 0;  // not 0 after a resume
  std::string state_hash;         // of what it starts from; must agree
  bool joinable =
      true;  // whether a newcomer can take over the state (not a program's own optimizer)
  // What a bridge has to know of the state: where the flat space's tensors lie, byte offsets in the
  // state file of the blocks' checks at the beginning of even and of odd rounds, and whether the
  // last of the tensors is what shards carry from round to round.
  std::vector<std::uint64_t> tensor_begin, tensor_count;
  std::uint64_t checks_at_even = 0, checks_at_odd = 0;
  // And what of the file a host that comes in has to be given at the beginning of such a round: the
  // first byte and the number of bytes of each part in turn.
  std::vector<std::uint64_t> state_at_even, state_at_odd;
  bool carried = false;
};

// Coordinator to agent: a view with this number is planned from `round` on. The agent answers, and
// if it promised does not begin that round before the view is there or the plan is withdrawn.
struct Propose {
  std::uint32_t number = 0;
  std::uint64_t round = 0;  // kWithdrawn: there will be no such view
};
inline constexpr std::uint64_t kWithdrawn = ~std::uint64_t{0};
struct Promise {
  std::uint32_t number = 0;
  bool kept = false;        // false: that round has begun, or no round is left to begin
  bool over = false;        // no round is left
  std::uint64_t round = 0;  // the newest that it has begun
};

// Agent to coordinator: it was asked to leave (SIGTERM) and goes on until a view without it begins;
// then it says Done.
struct Leaving {};

// Agent to coordinator. Epoch summaries and the like, for display, log and report: `fields` is
// JSON.
struct Progress {
  std::string kind;  // "epoch", "checkpoint", "event", "evaluation", "note"
  std::string fields;
};

// Agent to coordinator: it finished; `report` is its part of the report as JSON (agent 0's has the
// run's results).
struct Done {
  std::string report;
};

// Either way: the sender ends; ErrorKind as a number.
struct Failed {
  std::int32_t kind = 0;
  std::string message;
};
Failed failed_of(const Error& error);
// A kind that is none counts as internal.
Error error_of(Failed failed);

// Coordinator to agent: finish the round, save, end.
struct StopRequest {
  std::string reason;  // "interrupt", "stop", "wall time", …
};

// Between the launcher and the coordinator, either way: member/parcels.h says what lies in it.
struct Parcel {
  std::vector<std::byte> body;
};

using Message = std::variant<Hello, Welcome, Ready, ViewMessage, Progress, Done, Failed,
                             StopRequest, Propose, Promise, Leaving, Parcel>;

// The frame with its length.
std::vector<std::byte> encode(const Message& message);
// The length a frame's first four bytes claim, or an Error above kMaxFrameBytes.
Result<std::size_t> frame_length(std::span<const std::byte, 4> prefix);
// The frame without its length.
Result<Message> decode(std::span<const std::byte> body);

}  // namespace instep::wire
