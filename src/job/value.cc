#include "job/value.h"

#include <array>
#include <charconv>
#include <cstddef>

#include "base/text.h"

namespace instep::job {
namespace {

constexpr std::size_t kShownBytes = 60;

// Length of the UTF-8 sequence at `text[at]`, or 0 if it is none.
std::size_t sequence(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> std::uint32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return 0;
  std::uint32_t point = first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
    point = point << 6 | (byte(i) & 0x3fU);
  }
  static constexpr std::array<std::uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  return point < kLeast[length] || point > 0x10ffff || surrogate ? 0 : length;
}

}  // namespace

std::string shortest(double value) {
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return {buffer.data(), end};
}

bool is_clean_text(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const std::size_t length = sequence(text, at);
    if (length == 0 || byte < 0x20 || byte == 0x7f) return false;
    at += length;
  }
  return true;
}

std::string in_quotes(std::string_view text) {
  std::string out(text.substr(0, kShownBytes));
  if (!is_clean_text(out)) {
    for (char& c : out) {
      if (c < 0x20 || c == 0x7f) c = '?';
    }
  }
  return cat('"', out, text.size() > kShownBytes ? "…" : "", '"');
}

std::string describe(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNull:
      return "nothing";
    case Value::Kind::kBool:
      return value.truth ? "true" : "false";
    case Value::Kind::kInteger:
      return cat("the integer ", value.integer);
    case Value::Kind::kNumber:
      return cat("the number ", shortest(value.number));
    case Value::Kind::kText:
      return cat("the text ", in_quotes(value.text));
    case Value::Kind::kList: {
      std::vector<std::string> items;
      for (const Value& item : value.items) {
        if (items.size() == 8) break;
        const bool plain = item.kind == Value::Kind::kInteger;
        const bool list = item.kind == Value::Kind::kList;
        items.push_back(plain ? cat(item.integer) : list ? "a list" : describe(item));
      }
      if (items.size() < value.items.size()) items.emplace_back("…");
      return cat("the list [", join(items, ", "), "]");
    }
    case Value::Kind::kTable:
      return "a table";
    case Value::Kind::kTables:
      return "a list of tables";
    case Value::Kind::kOther:
      return "a date or time";
  }
  return "nothing";
}

}  // namespace instep::job
