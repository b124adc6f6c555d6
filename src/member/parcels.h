// What the launcher and the coordinator say to each other, and how it lies in a wire::Parcel.
//
// The launcher numbers what it tells and keeps it until the coordinator has it in its journal; the
// coordinator numbers what it answers and keeps that until the launcher has it. So a coordinator
// that is started again goes on where its journal ends: it is told what is not there, says again
// what did not arrive, and either end drops what it knows by its number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "member/decide.h"

namespace instep::member {

// The launcher's first word.
struct Open {
  bool again = false;            // one has answered before: go on with what the journal says
  Rules rules;                   // of a run that begins
  std::string journal;           // path; empty: none is kept, and nothing can go on
  std::uint32_t generation = 0;  // the newest that it has heard of
  std::uint64_t heard = 0;       // as Told's
};

// An event. Each is answered by one Reply.
struct Told {
  std::uint64_t number = 0;  // from 1; 0: what the next one of its kind says better
  std::uint64_t heard = 0;   // number of the newest Reply that has arrived
  Event event;
};

// Where the run stands, as far as the launcher must know.
struct Standing {
  std::uint32_t generation = 1;
  Phase phase = Phase::kAdmitting;
  std::uint32_t wanted = 1;
  std::uint64_t completed = 0;  // rounds
  bool viewed = false;          // there was a view
  std::vector<AgentId> members;
  std::optional<Nanoseconds> observe_in, due_in;  // Observed, TimePassed
  // When all is over. Reports: those of members first, which have gone to the end.
  std::optional<Outcome> outcome;
  std::vector<std::string> reports;
};

struct Reply {
  std::uint64_t number = 0;  // from 1; 0: it asks for nothing, and may be lost
  std::uint64_t known = 0;   // number of the newest event that is recorded
  std::vector<Action> actions;
  Standing standing;
  std::string warning;  // what the coordinator has to say for itself
};

std::vector<std::byte> encode(const Open& open);
std::vector<std::byte> encode(const Told& told);
std::vector<std::byte> encode(const Reply& reply);
Result<std::variant<Open, Told>> decode_for_coordinator(std::span<const std::byte> body);
Result<Reply> decode_reply(std::span<const std::byte> body);

}  // namespace instep::member
