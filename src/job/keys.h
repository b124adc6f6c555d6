// The table of the job's keys: the one place that knows a key's name, type, range and meaning.
// Reading TOML and JSON, writing JSON, errors and the check of docs/job.md all go over this table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "job/job.h"
#include "job/value.h"
#include "job/words.h"

namespace instep::job {

inline constexpr std::size_t kMaxGroups = 64;
inline constexpr std::size_t kMaxListItems = 64;

// An enum field of any of our types.
struct WordRef {
  Words words;
  void* at;
  std::size_t (*get)(const void* at);
  void (*set)(void* at, std::size_t index);
};

// A field of a job; the alternative is the key's type.
using Ref =
    std::variant<bool*, std::int64_t*, std::uint64_t*, double*, std::optional<double>*,
                 std::string*, std::vector<std::int64_t>*, std::vector<std::string>*, WordRef>;

// Only what fits the key's type is looked at.
struct Limits {
  std::int64_t least = 0, most = 0;            // integers, and each integer of a list
  double low = 0, high = 0;                    // numbers
  bool above_low = false, below_high = false;  // numbers: the bound itself is not allowed
  Words words{};                               // texts, and each of a list: one of these only
  enum class Text { kFree, kName, kPath } text = Text::kFree;
  bool or_integer = false;  // texts: an integer is taken as its digits; lists: as its one item
  bool or_text = false;     // lists: a text is taken as its one item
};

struct Key {
  std::string_view name;                   // "optimizer.lr", "optimizer.group[].lr"
  Ref (*at)(Job& job, std::size_t group);  // group: of a "[]" key, else ignored
  Limits limits;
  std::string_view meaning;  // the line in docs/job.md
};

inline constexpr std::string_view kGroupKey = "optimizer.group";

std::span<const Key> keys();
// Null if there is none. `name` is as in the table, with "[]" for any group.
const Key* find_key(std::string_view name);
bool is_group_key(const Key& key);
std::vector<std::string> key_names();
// Texts, paths, names and words.
bool holds_text(const Key& key);
// What a key of words may hold, else empty.
Words words_for(const Key& key);

Value value_of(const Ref& ref);
// Whether the value has the key's type and lies in its range.
bool fits(const Key& key, const Value& value);
// Stores a value that fits.
void store(const Ref& ref, const Value& value);

// "integer"; "1 to 64"; what an error says is allowed, "an integer, 1 to 64".
std::string type_text(const Key& key);
std::string range_text(const Key& key);
std::string allowed_text(const Key& key);

}  // namespace instep::job
