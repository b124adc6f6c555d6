#include "cli/slurm.h"

#include <charconv>

#include "base/text.h"
#include "base/utf8.h"

namespace instep::cli {
namespace {

constexpr int kShown = 80;  // columns of a text that is wrong

bool is_name_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

// Reads from the front of a text; each step is false where the text goes on otherwise.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool at_end() const { return rest_.empty(); }
  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::string_view take_name() {
    std::size_t end = 0;
    while (end < rest_.size() && is_name_letter(rest_[end])) ++end;
    return cut(end);
  }
  // As it is written: zeros in front are part of a node's name.
  bool take_number(std::string_view& digits, std::uint32_t& value) {
    const char* begin = rest_.data();
    const auto done = std::from_chars(begin, begin + rest_.size(), value);
    if (done.ec != std::errc()) return false;
    digits = cut(static_cast<std::size_t>(done.ptr - begin));
    return true;
  }
  bool take_number(std::uint32_t& value) {
    std::string_view digits;
    return take_number(digits, value);
  }

 private:
  std::string_view cut(std::size_t size) {
    const std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }

  std::string_view rest_;
};

// "02-04,07]": the first number goes behind `name`.
bool take_ranges(Reader& text, std::string& name) {
  bool first = true;
  do {
    std::string_view digits;
    std::uint32_t from = 0, to = 0;
    if (!text.take_number(digits, from)) return false;
    if (text.take("-") && (!text.take_number(to) || to < from)) return false;
    if (first) name += digits;
    first = false;
  } while (text.take(","));
  return text.take("]");
}

// "node[02-04]-[1,2]": the first of its nodes.
bool take_nodes(Reader& text, std::string& name) {
  while (true) {
    const std::string_view letters = text.take_name();
    name += letters;
    if (text.take("[")) {
      if (!take_ranges(text, name)) return false;
    } else if (letters.empty()) {
      return !name.empty();
    }
  }
}

}  // namespace

Result<std::string> first_node(std::string_view list) {
  Reader text(list);
  std::string out;
  bool good = take_nodes(text, out);
  while (good && text.take(",")) {
    std::string other;
    good = take_nodes(text, other);
  }
  if (good && text.at_end()) return out;
  return invalid(
      cat("'", fit(list, kShown), "' is no list of nodes; it looks like node[01-04,07],login1"));
}

Result<TaskCount> count_tasks(std::string_view text, std::uint32_t node) {
  Reader reader(text);
  TaskCount out;
  std::uint64_t nodes = 0;
  bool good = true;
  do {
    std::uint32_t tasks = 0, times = 1;
    good = reader.take_number(tasks) &&
           (!reader.take("(x") || (reader.take_number(times) && reader.take(")")));
    if (node >= nodes && node < nodes + times) out.here = tasks;
    nodes += times;
    out.total += std::uint64_t{tasks} * times;
  } while (good && reader.take(","));
  if (!good || !reader.at_end()) {
    return invalid(cat("'", fit(text, kShown), "' says no tasks by node; it looks like 2(x3),1"));
  }
  if (node >= nodes) {
    return invalid(cat("'", fit(text, kShown), "' is of ", nodes, nodes == 1 ? " node" : " nodes",
                       ", and this one has number ", node));
  }
  return out;
}

}  // namespace instep::cli
