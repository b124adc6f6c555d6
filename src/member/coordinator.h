// The coordinator without its process: decide() with the numbers of member/parcels.h around it, and
// its journal. Pure; whoever drives it writes record() before anything of a reply is sent, and
// gives what it finds there to the next one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "member/decide.h"
#include "member/parcels.h"

namespace instep::member {

// All that a coordinator is.
struct Record {
  std::uint64_t known = 0;     // number of the newest event in it
  std::uint64_t replied = 0;   // number of the newest reply
  std::vector<Reply> unheard;  // those that may not have arrived
  RunState state;              // its generation is the coordinator's
};

// A journal is kJournalHead and entries behind it, the newest one last. What a death cuts off of an
// entry, or a disk loses of it, is found by its hash: entries end where the first one is not whole.
inline constexpr std::string_view kJournalHead = "instep journal 1";
std::vector<std::byte> to_entry(const Record& record);
struct Journal {
  std::optional<Record> newest;
  std::size_t whole = 0;  // bytes from its beginning that are
};
// kInvalid: it is something else.
Result<Journal> read_journal(std::span<const std::byte> bytes);

class Coordinator {
 public:
  explicit Coordinator(const Rules& rules) {
    record_.state = member::begin(rules);
    record_.state.generation = 0;
  }
  explicit Coordinator(Record record) : record_(std::move(record)) {}
  // Its generation is above `newest` and the one that the record is of (design, rule 5).
  void begin_generation(std::uint32_t newest);

  // What goes out before anything else after the launcher's Open: replies that it has not heard,
  // and where the run stands. kUnavailable: it has heard more than was recorded.
  Result<std::vector<Reply>> open(std::uint64_t heard, Nanoseconds now);
  // Whether the reply's number is 0 says whether there is anything to record before it is sent.
  // kUnavailable: events before this one are not known.
  Result<Reply> take(Told told, Nanoseconds now);

  const Record& record() const { return record_; }

 private:
  Reply reply(Nanoseconds now) const;
  void forget(std::uint64_t heard);

  Record record_;
};

}  // namespace instep::member
